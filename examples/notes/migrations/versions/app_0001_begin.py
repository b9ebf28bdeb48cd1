"""The beginning of this application's own history, which stands on Denizen's tables."""

revision = "app_0001"
down_revision = None
branch_labels = ("app",)
depends_on = "denizen_0010"  # always a revision: written into a file, denizen@head means nothing


def upgrade() -> None:
    """Nothing yet. What follows may have foreign keys to denizen_users."""


def downgrade() -> None:
    """Nothing."""
