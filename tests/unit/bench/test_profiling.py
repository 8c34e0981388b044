"""What a server's log says of its statements."""

import pytest
from bench.profiling import read_statements

LOG = """\
2026-01-01 12:00:00.000 UTC [7] LOG:  duration: 0.500 ms  parse __asyncpg_stmt_1__: SELECT a
\tFROM b WHERE c = $1
2026-01-01 12:00:00.000 UTC [7] LOG:  duration: 0.250 ms  bind __asyncpg_stmt_1__: SELECT a
\tFROM b WHERE c = $1
2026-01-01 12:00:00.000 UTC [7] LOG:  duration: 1.000 ms  execute __asyncpg_stmt_1__: SELECT a
\tFROM b WHERE c = $1
2026-01-01 12:00:00.000 UTC [8] ERROR:  something else
\twith more than a line
2026-01-01 12:00:00.000 UTC [7] LOG:  duration: 3.000 ms  execute __s__: SELECT a FROM b WHERE c = $1
2026-01-01 12:00:00.000 UTC [7] LOG:  duration: 2.000 ms  statement: COMMIT
"""


def test_the_steps_of_a_statement_are_added_up_whatever_its_lines_are() -> None:
    found = read_statements(LOG.splitlines(keepends=True))
    assert list(found) == ["SELECT a FROM b WHERE c = $1", "COMMIT"]
    select, commit = found.values()
    assert (select.runs, select.parse_ms, select.bind_ms, select.execute_ms) == (2, 0.5, 0.25, 4.0)
    assert select.total_ms == pytest.approx(4.75)
    assert (commit.runs, commit.total_ms) == (1, 2.0)
