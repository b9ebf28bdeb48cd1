"""Every SQL statement. Nothing here commits, and nothing knows HTTP."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, contains_eager, joinedload

from denizen import User
from notes.errors import NotebookNotFound, NotebooksFull, NoteNotFound, NoteReadOnly, ReadersFull
from notes.models import Note, Notebook, Ruling, Share
from notes.schemas import PageAsked

Row = TypeVar("Row")

MAX_READERS = 100

# All that is shown of a note, in the statement that finds it; of whoever wrote in it no more than that.
SHOWN = (joinedload(Note.edited_by).load_only(User.username, User.profile), joinedload(Note.ruling))


async def _list(
    db: AsyncSession, query: Select[Row], key: InstrumentedAttribute[int], page: PageAsked
) -> Sequence[Row]:
    """Give a page of a list, and one row more where it goes on. `key` is of an index that has the filter before it."""
    if page.before is not None:
        query = query.where(key < page.before)
    return (await db.scalars(query.order_by(key.desc()).limit(page.limit + 1))).all()


def _is_hidden() -> Any:
    return exists().where(Ruling.note_id == Note.id)


# --- Notebooks -----------------------------------------------------------------------------------------


async def list_notebooks(db: AsyncSession, owner_id: UUID, page: PageAsked) -> Sequence[Notebook]:
    """Give somebody's notebooks."""
    return await _list(db, select(Notebook).where(Notebook.owner_id == owner_id), Notebook.id, page)


async def get_notebook(db: AsyncSession, notebook_id: int, *, owner_id: UUID) -> Notebook:
    """Give a notebook to its owner.

    Raises:
        NotebookNotFound: there is none, or it is somebody else's.
    """
    query = select(Notebook).where(Notebook.id == notebook_id, Notebook.owner_id == owner_id)
    found = (await db.scalars(query)).one_or_none()
    if found is None:
        raise NotebookNotFound("You have no such notebook.")
    return found


async def create_notebook(db: AsyncSession, owner_id: UUID, name: str, *, most: int) -> Notebook:
    """Begin a notebook.

    Args:
        most: how many its owner may have.

    Raises:
        NotebooksFull: he has them.
    """
    # Two requests at once would each count what is there without the other: the second waits for the first.
    await db.execute(select(User.id).where(User.id == owner_id).with_for_update(key_share=True))
    count = select(func.count()).select_from(Notebook).where(Notebook.owner_id == owner_id)
    if (await db.scalar(count) or 0) >= most:
        raise NotebooksFull(f"Your plan has room for {most} notebooks.")
    notebook = Notebook(name=name, owner_id=owner_id)
    db.add(notebook)
    await db.flush()
    return notebook


async def delete_notebook(db: AsyncSession, notebook_id: int) -> None:
    """Delete a notebook. What is in it goes by the foreign keys."""
    await db.execute(delete(Notebook).where(Notebook.id == notebook_id))


# --- Notes ---------------------------------------------------------------------------------------------


async def list_notes(db: AsyncSession, notebook_id: int, page: PageAsked) -> Sequence[Note]:
    """Give the notes of a notebook."""
    return await _list(db, select(Note).where(Note.notebook_id == notebook_id).options(*SHOWN), Note.id, page)


async def list_all_notes(db: AsyncSession, page: PageAsked) -> Sequence[Note]:
    """Give everybody's notes: for moderators."""
    return await _list(db, select(Note).options(*SHOWN), Note.id, page)


async def list_shared_notes(db: AsyncSession, reader_id: UUID, page: PageAsked) -> Sequence[Note]:
    """Give the notes that others share with somebody, but for those that are hidden."""
    query = select(Note).join(Share, Share.note_id == Note.id).where(Share.user_id == reader_id, ~_is_hidden())
    return await _list(db, query.options(*SHOWN), Share.note_id, page)


async def read_note(db: AsyncSession, note_id: int, *, reader_id: UUID) -> tuple[Note, Share | None]:
    """Give a note to whoever may read it, with his share in it; its owner needs none.

    Raises:
        NoteNotFound: there is none, or he may not.
    """
    shared = Share.note_id.is_not(None) & ~_is_hidden()
    query = (
        select(Note, Share)
        .join(Note.notebook)
        .outerjoin(Share, (Share.note_id == Note.id) & (Share.user_id == reader_id))
        .where(Note.id == note_id, (Notebook.owner_id == reader_id) | shared)
        .options(contains_eager(Note.notebook), *SHOWN)
        .execution_options(populate_existing=True)  # as the database has it, also after a change in this session
    )
    found = (await db.execute(query)).one_or_none()
    if found is None:
        raise NoteNotFound("There is no such note for you.")
    return found[0], found[1]


async def read_note_to_edit(db: AsyncSession, note_id: int, *, editor_id: UUID) -> Note:
    """Give a note to whoever may write in it.

    Raises:
        NoteNotFound: as `read_note`.
        NoteReadOnly: he may read it only.
    """
    note, share = await read_note(db, note_id, reader_id=editor_id)
    if note.notebook.owner_id != editor_id and not (share and share.may_edit):
        raise NoteReadOnly("This note is shared with you to be read.")
    return note


async def lock_note(db: AsyncSession, note_id: int, *, owner_id: UUID | None = None) -> None:
    """Let nobody else lock a note until this transaction ends: what is decided by its shares holds until then.

    Args:
        owner_id: who has to be its owner; anybody, where none is named.

    Raises:
        NoteNotFound: there is none, or it is somebody else's.
    """
    query = select(Note.id).join(Note.notebook).where(Note.id == note_id)
    if owner_id is not None:
        query = query.where(Notebook.owner_id == owner_id)
    # SQLite knows no row locks and needs none: a session that writes has the file for itself.
    if await db.scalar(query.with_for_update(of=Note)) is None:
        raise NoteNotFound("You have no such note.")


async def delete_note(db: AsyncSession, note_id: int) -> None:
    """Delete a note."""
    await db.execute(delete(Note).where(Note.id == note_id))


# --- Who else reads them -------------------------------------------------------------------------------


async def list_shares(db: AsyncSession, note_id: int) -> Sequence[Share]:
    """Give all with whom a note is shared: `MAX_READERS` at most."""
    query = select(Share).where(Share.note_id == note_id).order_by(Share.user_id)
    return (await db.scalars(query.options(joinedload(Share.user).load_only(User.username, User.profile)))).all()


async def put_share(db: AsyncSession, note_id: int, user_id: UUID, *, may_edit: bool) -> None:
    """Share a note that is locked, or change how it is shared.

    Raises:
        ReadersFull: with as many as can be.
    """
    others = select(func.count()).select_from(Share).where(Share.note_id == note_id, Share.user_id != user_id)
    if (await db.scalar(others) or 0) >= MAX_READERS:
        raise ReadersFull(f"A note is shared with {MAX_READERS} people at most.")
    await db.merge(Share(note_id=note_id, user_id=user_id, may_edit=may_edit))


async def delete_share(db: AsyncSession, note_id: int, user_id: UUID) -> None:
    """Share a note with somebody no more."""
    await db.execute(delete(Share).where(Share.note_id == note_id, Share.user_id == user_id))


# --- What moderators ruled -----------------------------------------------------------------------------


async def put_ruling(db: AsyncSession, ruling: Ruling) -> None:
    """Hide a note that is locked, in place of what was ruled before."""
    await db.merge(ruling)


async def delete_ruling(db: AsyncSession, note_id: int) -> None:
    """Show a note again."""
    await db.execute(delete(Ruling).where(Ruling.note_id == note_id))
