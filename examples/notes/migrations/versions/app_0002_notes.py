"""Notebooks, notes, who reads them, and what moderators ruled."""

import sqlalchemy as sa
from alembic import op

revision = "app_0002"
down_revision = "app_0001"
branch_labels = None
depends_on = None

ACCOUNT = sa.String(length=36).with_variant(sa.Uuid(), "postgresql")  # the type of denizen_users.id
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables, with an index for every foreign key: each erasure of an account looks through all of them."""
    op.create_table(
        "notebooks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("owner_id", ACCOUNT, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["denizen_users.id"], name="fk_notebooks_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_notebooks"),
    )
    op.create_index("ix_notebooks_owner_id_id", "notebooks", ["owner_id", "id"])
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notebook_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("edited_at", TIME, nullable=False),
        sa.Column("edited_by_id", ACCOUNT, nullable=True),
        sa.ForeignKeyConstraint(
            ["edited_by_id"], ["denizen_users.id"], name="fk_notes_edited_by_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["notebook_id"], ["notebooks.id"], name="fk_notes_notebook_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
    )
    op.create_index("ix_notes_notebook_id_id", "notes", ["notebook_id", "id"])
    op.create_index("ix_notes_edited_by_id", "notes", ["edited_by_id"])
    op.create_table(
        "shares",
        sa.Column("user_id", ACCOUNT, nullable=False),
        sa.Column("note_id", sa.Integer(), nullable=False),
        sa.Column("may_edit", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["note_id"], ["notes.id"], name="fk_shares_note_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["denizen_users.id"], name="fk_shares_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "note_id", name="pk_shares"),
    )
    op.create_index("ix_shares_note_id", "shares", ["note_id"])
    op.create_table(
        "rulings",
        sa.Column("note_id", sa.Integer(), nullable=False),
        sa.Column("moderator_id", ACCOUNT, nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("ruled_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["moderator_id"], ["denizen_users.id"], name="fk_rulings_moderator_id", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["note_id"], ["notes.id"], name="fk_rulings_note_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("note_id", name="pk_rulings"),
    )
    op.create_index("ix_rulings_moderator_id", "rulings", ["moderator_id"])


def downgrade() -> None:
    """Drop them, and what was written."""
    for table in ("rulings", "shares", "notes", "notebooks"):
        op.drop_table(table)
