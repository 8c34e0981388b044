"""Everything that can be configured, read once from ``AIFACTORY_*``."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec


def _local_workers() -> int:
    return max(1, (os.cpu_count() or 2) - 1)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process."""

    database_url: str | None = None  #: any PostgreSQL 15 or newer; unset: an embedded one below data_dir
    data_dir: Path = Path(".aifactory")  #: where the embedded database lives
    host: str = "127.0.0.1"  #: address that `serve` listens on
    port: int = 8400  #: port that `serve` listens on
    max_in_flight: int = 64  #: calls that one process runs at once
    local_workers: int = msgspec.field(default_factory=_local_workers)  #: worker processes for local jobs
    pool_size: int = 20  #: database connections of one process
    grace_seconds: int = 4  #: how long a stopping process waits for running jobs
    scheduler: bool = True  #: whether this process runs the scheduler loop
    log_level: str = "info"  #: debug, info, warning or error
    environment: str = "development"  #: development or production


class SettingsError(Exception):
    """A variable has a value that can't be used."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read ``AIFACTORY_*``; raises SettingsError naming the variable."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        name = f"AIFACTORY_{field.name.upper()}"
        if environ.get(name):
            try:
                values[field.name] = msgspec.convert(
                    environ[name], field.type, strict=False, dec_hook=lambda kind, value: kind(value)
                )
            except (msgspec.ValidationError, ValueError) as error:
                raise SettingsError(f"{name}: {error}") from error
    return Settings(**values)  # type: ignore[arg-type]
