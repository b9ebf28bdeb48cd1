"""What can go wrong with long work."""

from __future__ import annotations

from denizen.core.errors import Conflict, Invalid, NotFound


class JobNotFound(NotFound):
    """No such job, or none that this caller may know of."""

    code = "job_not_found"
    title = "Job not found"


class JobRunning(Conflict):
    """Another process is at this job."""

    code = "job_running"
    title = "Job is running"


class JobTakenOver(Conflict):
    """Another process goes on with this job; nothing of the batch in hand was written here."""

    code = "job_taken_over"
    title = "Job taken over"


class JobOptionsDiffer(Invalid):
    """A job is gone on with as it was begun: with the same options."""

    code = "job_options_differ"
    title = "Other options than before"
