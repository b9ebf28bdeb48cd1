"""Where the processes of one server put figures that are summed.

Nothing here loads prometheus-client before that is set: it looks once, when it is imported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from denizen.settings import Settings, SettingsError


@contextmanager
def shared_figures(settings: Settings) -> Iterator[Callable[[int], None] | None]:
    """Let all processes of a server write their figures into one private folder, and serve their sum on
    `DENIZEN_METRICS_PORT` if one is set: once, from this process, however many workers there are.

    One process whose figures are read through its own `/metrics` alone needs no folder.

    Yields:
        What to call with the id of a worker that died; `None` where there is nothing to do.

    Raises:
        SettingsError: the port cannot be listened on.
    """
    if settings.workers == 1 and not settings.metrics_port:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="denizen-figures-", ignore_cleanup_errors=True) as folder:
        Settings.share_figures(Path(folder))
        try:
            from prometheus_client.multiprocess import mark_process_dead

            stop = _serve(settings, folder)
            try:
                yield lambda pid: mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # it has no types
            finally:
                stop()
        finally:
            Settings.share_figures(None)


def _serve(settings: Settings, folder: str) -> Callable[[], None]:
    if not settings.metrics_port:
        return lambda: None
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # it has no types
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        raise SettingsError(
            f"DENIZEN_METRICS_PORT {settings.metrics_port} on {settings.metrics_host} cannot be listened on: "
            f"{error.strerror}."
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1)

    return stop
