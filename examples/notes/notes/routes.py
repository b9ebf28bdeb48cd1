"""The routes: who asks is checked, one function of `crud` does it, and Denizen commits before the answer is sent."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from denizen import CurrentUser, Db, Here, ReadDb, get_user_by_email, requires
from notes import crud
from notes.models import Note, Notebook, Ruling, Share
from notes.profile import NOTEBOOKS, profile_of
from notes.schemas import (
    Id,
    NotebookCreate,
    NotebookRead,
    NoteRead,
    NoteWrite,
    Page,
    PageAsked,
    Paging,
    RulingWrite,
    ShareRead,
    ShareWrite,
)

router = APIRouter()
moderation = APIRouter(prefix="/moderation", dependencies=[requires("notes:moderate")])


def _page(rows: Sequence[Note | Notebook], asked: PageAsked) -> dict[str, Any]:
    """Make a `Page` of as many rows as were asked for and one more, if the list goes on."""
    shown = rows[: asked.limit]
    return {"items": shown, "next": shown[-1].id if len(rows) > asked.limit else None}


# --- Notebooks -----------------------------------------------------------------------------------------


@router.post("/notebooks/", status_code=201, response_model=NotebookRead)
async def create_notebook(user: CurrentUser, db: Db, data: NotebookCreate) -> Notebook:
    """Begin a notebook: as many as your plan has room for."""
    most = NOTEBOOKS[profile_of(user).plan]
    return await crud.create_notebook(db, user.id, data.name, most=most)


@router.get("/notebooks/", response_model=Page[NotebookRead])
async def list_notebooks(user: CurrentUser, db: ReadDb, page: Paging) -> dict[str, Any]:
    """List your notebooks, the newest first."""
    return _page(await crud.list_notebooks(db, user.id, page), page)


@router.delete("/notebooks/{notebook_id}", status_code=204)
async def delete_notebook(user: CurrentUser, db: Db, notebook_id: Id) -> None:
    """Delete a notebook and all that is in it."""
    notebook = await crud.get_notebook(db, notebook_id, owner_id=user.id)
    await crud.delete_notebook(db, notebook.id)


# --- Notes ---------------------------------------------------------------------------------------------


@router.post("/notebooks/{notebook_id}/notes/", status_code=201, response_model=NoteRead)
async def create_note(accounts: Here, user: CurrentUser, db: Db, notebook_id: Id, data: NoteWrite) -> Note:
    """Write a note."""
    notebook = await crud.get_notebook(db, notebook_id, owner_id=user.id)
    note = Note(notebook_id=notebook.id, edited_by_id=user.id, edited_at=accounts.clock(), **data.model_dump())
    db.add(note)
    await db.flush()
    return (await crud.read_note(db, note.id, reader_id=user.id))[0]


@router.get("/notebooks/{notebook_id}/notes/", response_model=Page[NoteRead])
async def list_notes(user: CurrentUser, db: ReadDb, notebook_id: Id, page: Paging) -> dict[str, Any]:
    """List the notes of a notebook of yours, the newest first."""
    notebook = await crud.get_notebook(db, notebook_id, owner_id=user.id)
    return _page(await crud.list_notes(db, notebook.id, page), page)


@router.get("/shared-notes/", response_model=Page[NoteRead])
async def list_shared_notes(user: CurrentUser, db: ReadDb, page: Paging) -> dict[str, Any]:
    """List what others share with you, the newest note first."""
    return _page(await crud.list_shared_notes(db, user.id, page), page)


@router.get("/notes/{note_id}", response_model=NoteRead)
async def read_note(user: CurrentUser, db: ReadDb, note_id: Id) -> Note:
    """Read a note of yours, or one that is shared with you."""
    return (await crud.read_note(db, note_id, reader_id=user.id))[0]


@router.put("/notes/{note_id}", response_model=NoteRead)
async def write_note(accounts: Here, user: CurrentUser, db: Db, note_id: Id, data: NoteWrite) -> Note:
    """Write in a note of yours, or in one that is shared with you for that."""
    note = await crud.read_note_to_edit(db, note_id, editor_id=user.id)
    note.title, note.text = data.title, data.text
    note.edited_by_id, note.edited_at = user.id, accounts.clock()
    await db.flush()
    return (await crud.read_note(db, note_id, reader_id=user.id))[0]


@router.delete("/notes/{note_id}", status_code=204)
async def delete_note(user: CurrentUser, db: Db, note_id: Id) -> None:
    """Delete a note of yours."""
    await crud.lock_note(db, note_id, owner_id=user.id)
    await crud.delete_note(db, note_id)


# --- Who else reads them -------------------------------------------------------------------------------


@router.put("/notes/{note_id}/shares/", status_code=204)
async def share_note(user: CurrentUser, db: Db, note_id: Id, data: ShareWrite) -> None:
    """Share a note with whoever has this address. A 404 `user_not_found` tells that nobody has."""
    reader = await get_user_by_email(db, data.email)
    await crud.lock_note(db, note_id, owner_id=user.id)
    await crud.put_share(db, note_id, reader.id, may_edit=data.may_edit)


@router.get("/notes/{note_id}/shares/", response_model=list[ShareRead])
async def list_shares(user: CurrentUser, db: ReadDb, note_id: Id) -> Sequence[Share]:
    """List who reads a note that you may read."""
    note, _ = await crud.read_note(db, note_id, reader_id=user.id)
    return await crud.list_shares(db, note.id)


@router.delete("/notes/{note_id}/shares/{user_id}", status_code=204)
async def stop_sharing(user: CurrentUser, db: Db, note_id: Id, user_id: UUID) -> None:
    """Share a note of yours with somebody no more, or want one no more that is shared with you."""
    if user_id != user.id:
        await crud.lock_note(db, note_id, owner_id=user.id)
    await crud.delete_share(db, note_id, user_id)


# --- Moderators: a permission of this application's own ------------------------------------------------


@moderation.get("/notes/", response_model=Page[NoteRead])
async def list_all_notes(db: ReadDb, page: Paging) -> dict[str, Any]:
    """List everybody's notes, the newest first."""
    return _page(await crud.list_all_notes(db, page), page)


@moderation.put("/notes/{note_id}/ruling", status_code=204)
async def hide_note(accounts: Here, user: CurrentUser, db: Db, note_id: Id, data: RulingWrite) -> None:
    """Hide a note from all but its owner, who is told the reason."""
    await crud.lock_note(db, note_id)
    ruling = Ruling(note_id=note_id, moderator_id=user.id, reason=data.reason, ruled_at=accounts.clock())
    await crud.put_ruling(db, ruling)


@moderation.delete("/notes/{note_id}/ruling", status_code=204)
async def show_note(db: Db, note_id: Id) -> None:
    """Show a note again."""
    await crud.delete_ruling(db, note_id)
