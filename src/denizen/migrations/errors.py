"""What keeps a database from being used or moved; each sentence says what to do."""

from __future__ import annotations

from denizen.core.errors import Conflict, Unavailable


class SchemaNotReady(Unavailable):
    """The schema is not one that this release can work on."""

    code = "schema_not_ready"
    title = "Schema not ready"


class MigrationRefused(Conflict):
    """What was asked for would not fit this database or this release; nothing was changed."""

    code = "migration_refused"
    title = "Migration refused"


class MigrationBlocked(Unavailable):
    """Somebody else held a lock for too long; nothing was changed."""

    code = "migration_blocked"
    title = "Migration blocked"


class MigrationFailed(Conflict):
    """A revision could not be applied; all of it was rolled back."""

    code = "migration_failed"
    title = "Migration failed"
