"""Everything that can be configured, read once from ``AIFACTORY_*``; ``.env.example`` comes from here."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from aifactory.kernel.daily_window import DailyWindow, TimeZone
from aifactory.kernel.visitors import Networks

PREFIX = "AIFACTORY_"

# What clients and the command line read; the server ignores it, and never takes a client's key.
CLIENT_VARIABLES = {
    f"{PREFIX}URL": ("where clients and the command line find the server", "http://127.0.0.1:8400"),
    f"{PREFIX}API_KEY": ("the key that clients and the command line send", ""),
}


class LogLevel(StrEnum):
    """The least important messages that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _local_workers() -> int:
    return max(1, (os.cpu_count() or 2) - 1)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process."""

    database_url: Annotated[
        str | None,
        Meta(description="any PostgreSQL 15 or newer; unset: an embedded one below the data folder"),
    ] = None
    data_dir: Annotated[Path, Meta(description="where the embedded database and the demo's results live")] = (
        Path(".aifactory")
    )
    providers_file: Annotated[
        Path | None,
        Meta(description="model providers as TOML, read at start; OPENAI_API_KEY alone switches OpenAI on"),
    ] = None
    host: Annotated[str, Meta(description="the address that `serve` listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="the port that `serve` listens on")] = 8400
    trusted_proxies: Annotated[
        Networks,
        Meta(
            description="addresses or networks, by commas, whose X-Forwarded-For, -Proto, -Host are believed"
        ),
    ] = Networks()
    secure_cookies: Annotated[
        bool, Meta(description="whether users come by https only, whatever this process can tell")
    ] = False
    max_in_flight: Annotated[int, Meta(ge=1, le=10_000, description="calls that a process runs at once")] = 64
    local_workers: Annotated[
        int,
        Meta(ge=1, le=256, description="worker processes for local steps; default: cores − 1, at least 1"),
    ] = msgspec.field(default_factory=_local_workers)
    pool_size: Annotated[int, Meta(ge=4, le=200, description="database connections of a process")] = 20
    grace_seconds: Annotated[
        int, Meta(ge=0, le=600, description="how long a stopping process waits for running steps")
    ] = 4
    scheduler: Annotated[bool, Meta(description="whether this process runs the scheduler")] = True
    off_peak: Annotated[
        DailyWindow, Meta(description="the part of the day that work with `offPeak` waits for")
    ] = DailyWindow("22:00-06:00")
    time_zone: Annotated[TimeZone, Meta(description="the time zone of the off-peak window")] = TimeZone("UTC")
    webhooks_to_private: Annotated[
        bool, Meta(description="whether webhooks may go to private addresses and by http: development only")
    ] = False
    metrics_token: Annotated[
        Annotated[str, Meta(min_length=16)] | None,
        Meta(description="with this bearer token `/metrics` may be read, and nothing else"),
    ] = None
    log_level: Annotated[LogLevel, Meta(description="debug, info, warning or error")] = LogLevel.INFO


class SettingsError(Exception):
    """A variable has a value that can't be used; the text names it."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError for a bad value, and for a variable that is no setting."""
    fields = {f"{PREFIX}{field.name.upper()}": field for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name.startswith(f"{PREFIX}TEST_") or name in CLIENT_VARIABLES:
            continue
        if name not in fields:
            raise SettingsError(
                f"{name} is no setting; known are: {', '.join(sorted({*fields, *CLIENT_VARIABLES}))}."
            )
        if text:
            values[fields[name].name] = _convert(name, text, fields[name].type)
    return Settings(**values)  # type: ignore[arg-type]


def _convert(name: str, text: str, kind: object) -> object:
    try:
        return msgspec.convert(text, type=kind, strict=False, dec_hook=lambda wanted, value: wanted(value))
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"{name}={text}: {error}.") from error


def example_environment() -> str:
    """Return ``.env.example``: every variable with its meaning and its default."""
    lines = []
    for field in msgspec.structs.fields(Settings):
        meta = next(part for part in get_args(field.type) if isinstance(part, Meta))
        default = "" if field.default in (None, msgspec.NODEFAULT) else str(field.default)
        lines += [f"# {meta.description}", f"#{PREFIX}{field.name.upper()}={default}", ""]
    for variable, (meaning, default) in CLIENT_VARIABLES.items():
        lines += [f"# {meaning}", f"#{variable}={default}", ""]
    return "\n".join(lines)
