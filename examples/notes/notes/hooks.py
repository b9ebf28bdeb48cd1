"""What this application does when something happens to an account."""

from sqlalchemy.ext.asyncio import AsyncSession

from denizen import User, UserCreated
from notes.models import Note, Notebook


async def write_welcome(db: AsyncSession, event: UserCreated) -> None:
    """Give a new account its first notebook, in the transaction that opens it: both are stored, or neither is."""
    user = await db.get_one(User, event.user_id)
    notebook = Notebook(name="First notebook", owner_id=user.id)
    db.add(notebook)
    await db.flush()
    text = f"Hello {user.full_name or user.username or 'there'}. This note is yours: change it, share it, delete it."
    db.add(Note(notebook_id=notebook.id, title="Welcome", text=text, edited_at=user.created_at))
