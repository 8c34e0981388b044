"""The months of the history: made ahead, dropped when old and wanted by nobody."""

from datetime import UTC, datetime, timedelta

from aifactory.resources.history import METRICS_KEPT, Part, missing, month_after, unwanted

NOW = datetime(2027, 11, 30, 23, 59, 59, tzinfo=UTC)


def month(year: int, number: int, table: str = "execution_events") -> Part:
    return Part(table=table, first=datetime(year, number, 1, tzinfo=UTC))


def test_the_next_two_months_are_made_and_never_the_present_one() -> None:
    made = missing([], NOW)
    assert [part.name for part in made] == [
        "execution_events_2027_12",
        "performance_metrics_2027_12",
        "execution_events_2028_01",
        "performance_metrics_2028_01",
    ]
    assert missing(made, NOW) == []


def test_a_part_is_known_by_its_name() -> None:
    part = month(2027, 12)
    assert Part.named("execution_events", part.name) == part
    assert part.end == month_after(part.first) == datetime(2028, 1, 1, tzinfo=UTC)
    assert Part.named("execution_events", "execution_events_default") is None


def test_a_month_is_utc_whatever_zone_a_moment_comes_in() -> None:
    eastern = NOW.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    assert month_after(eastern) == datetime(2027, 12, 1, tzinfo=UTC)


def test_old_parts_go_up_to_the_oldest_execution_that_is_kept() -> None:
    parts = [month(2026, number) for number in (1, 2, 3)]
    assert unwanted(parts, NOW, None) == parts
    assert unwanted(parts, NOW, datetime(2026, 3, 1, tzinfo=UTC)) == parts[:2]
    assert unwanted(parts, NOW, datetime(2026, 2, 28, tzinfo=UTC)) == parts[:1]
    assert unwanted(parts, NOW, datetime(2025, 1, 1, tzinfo=UTC)) == []


def test_metrics_go_by_their_age_alone_and_nothing_young_goes() -> None:
    old = month(2026, 1, "performance_metrics")
    assert unwanted([old], NOW, datetime(2025, 1, 1, tzinfo=UTC)) == [old]
    part = month(2027, 8)
    assert unwanted([part], part.end + METRICS_KEPT - timedelta(seconds=1), None) == []
    assert unwanted([part], part.end + METRICS_KEPT, None) == [part]
