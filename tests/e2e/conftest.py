"""A migrated data folder to copy, and one server that several modules share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.running import Server, data_folder, run


@pytest.fixture(scope="session")
def migrated() -> Iterator[Path]:
    """A data folder whose database is migrated and holds nothing: what ``aifactory migrate`` makes."""
    with data_folder() as folder:
        made = run("migrate", data_dir=folder, fresh=True)
        assert made.returncode == 0, made.stderr
        yield folder


@pytest.fixture
def data_dir(migrated: Path) -> Iterator[Path]:
    with data_folder(migrated) as folder:
        yield folder


@pytest.fixture(scope="session")
def server(migrated: Path) -> Iterator[Server]:
    """A server after its first start; who stops its scheduler starts it again."""
    with data_folder(migrated) as folder, Server(folder, fresh=True) as running:
        yield running


@pytest.fixture(scope="session")
def secrets(server: Server) -> dict[str, str]:
    return server.secrets()
