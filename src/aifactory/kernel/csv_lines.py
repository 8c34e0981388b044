"""Lines of CSV (RFC 4180) that no spreadsheet takes for a formula. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from aifactory.kernel.errors import invalid

CSV_MEDIA_TYPE = "text/csv"

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUOTED = frozenset('",\r\n')


def asked_format(named: str | None, accept: str | None) -> str | None:
    """Return ``csv`` or ``json`` as ``format`` names it, else csv if ``Accept`` wants it. Raises Invalid."""
    if named not in (None, "csv", "json"):
        raise invalid("/format", "unknown_format", "Known formats: csv, json.")
    return named or ("csv" if _accepts_csv(accept) else None)


def refuse_pages(**asked: object) -> None:
    """Raise Invalid for a ``limit`` or ``cursor`` that is asked of an export: it gives all there is."""
    for name, value in asked.items():
        if value is not None:
            raise invalid(f"/{name}", "no_pages", f"An export has no pages; leave out {name}.")


def _accepts_csv(accept: str | None) -> bool:
    kinds = [one.partition(";")[0].strip().lower() for one in (accept or "").split(",")]
    return CSV_MEDIA_TYPE in kinds and "application/json" not in kinds


def download_headers(name: str) -> dict[str, str]:
    """Return the headers of a download that a browser saves under this name."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def csv_line(cells: Iterable[object]) -> bytes:
    """Return one line; None is an empty cell, a number is a number, a text never begins a formula."""
    return (",".join(map(_cell, cells)) + "\r\n").encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = str(value)
    if isinstance(value, str) and text.lstrip(" ").startswith(_FORMULA_STARTS):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _QUOTED & set(text) else text
