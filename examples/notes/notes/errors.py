"""What is refused. Raised from anywhere, Denizen answers each with a problem document that carries its `code`."""

from denizen import Conflict, Forbidden, NotFound


class NotebookNotFound(NotFound):
    """There is no such notebook, or it is somebody else's: nobody is told which."""

    code = "notebook_not_found"
    title = "Notebook not found"


class NotebooksFull(Conflict):
    """Somebody has as many notebooks as his plan allows."""

    code = "notebooks_full"
    title = "Too many notebooks"


class NoteNotFound(NotFound):
    """There is no such note, or it may not be read: nobody is told which."""

    code = "note_not_found"
    title = "Note not found"


class NoteReadOnly(Forbidden):
    """Somebody may read a note and not write in it."""

    code = "note_read_only"
    title = "Read-only note"


class ReadersFull(Conflict):
    """A note is shared with as many people as can be."""

    code = "readers_full"
    title = "Too many readers"
