from collections.abc import Iterator

import pytest

from tests.server.running import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with short deadlines, for all tests of a module."""
    limits = {"header_timeout": 0.6, "body_timeout": 0.6, "keep_alive": 2.5, "linger": 0.6, "write_timeout": 0.8}
    with running(tmp_path_factory.mktemp("server"), limits=limits) as started:
        yield started
