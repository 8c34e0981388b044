"""CSV: exact, quoted where needed, and never a formula."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aifactory.kernel.csv_lines import asked_format, csv_line
from aifactory.kernel.errors import Invalid


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", " =1", "＝1", '=cmd|"/c calc"!A1']
)
def test_a_text_that_a_spreadsheet_would_run_is_kept_as_text(text: str) -> None:
    ((cell,),) = csv.reader(io.StringIO(csv_line([text]).decode(), newline=""))
    assert cell == f"'{text}"


def test_numbers_times_and_odd_texts_come_back_as_they_were() -> None:
    cells = [
        -5,
        Decimal("-0.000000001"),
        None,
        'a "b", c',
        "two\r\nlines",
        "ünï",
        datetime(2026, 1, 2, tzinfo=UTC),
    ]
    line = csv_line(cells)
    assert line.endswith(b"\r\n")
    (row,) = csv.reader(io.StringIO(line.decode(), newline=""))
    assert row == ["-5", "-0.000000001", "", 'a "b", c', "two\r\nlines", "ünï", "2026-01-02T00:00:00Z"]


def test_csv_is_given_to_who_asks_for_it() -> None:
    assert asked_format(None, "text/csv") == "csv"
    assert asked_format(None, "text/plain, Text/CSV;q=0.9") == "csv"
    assert asked_format(None, "*/*") is None
    assert asked_format(None, "application/json, text/csv") is None
    assert asked_format(None, None) is None
    assert (asked_format("csv", None), asked_format("json", "text/csv")) == ("csv", "json")
    with pytest.raises(Invalid):
        asked_format("xml", None)
