"""What a settle adds to the usage of a day."""

from tests.unit.resources.test_books import NOW, History

from aifactory.resources.interface import Hop, Usage
from aifactory.resources.ledger import EntryKind
from aifactory.resources.rollup import DayUsage, roll_up


def test_rows_come_in_the_order_of_their_keys_whatever_came_first() -> None:
    history = History(room=0, spare=0)
    for name in ("c", "a", "d", "b"):
        hop = Hop(provider=name, model="m", pool="p")
        history.books.enter(history.execution, history.execution.id, 1, EntryKind.SPEND, 5, hop)
    rows = roll_up(history.books)
    assert [key.provider for key, _ in rows] == ["a", "b", "c", "d"]
    assert {(key.day, key.client_id, key.template) for key, _ in rows} == {
        (NOW.date(), history.execution.client_id, "t")
    }


def test_money_is_summed_by_who_pays_and_what_was_held_is_not_usage() -> None:
    history, hop = History(room=0, spare=0), Hop(provider="p", model="m", pool="p")
    used = Usage(input_units=3, cached_input_units=2, output_units=1)
    amounts = {kind: 10**place for place, kind in enumerate(EntryKind)}
    for kind, amount in amounts.items():
        history.books.enter(history.execution, history.execution.id, 1, kind, amount, hop, used)
    ((_, sums),) = roll_up(history.books)
    operator = (
        amounts[EntryKind.OVERRUN]
        + amounts[EntryKind.WASTE]
        + amounts[EntryKind.UNRECONCILED]
        - amounts[EntryKind.RECONCILED]
    )
    assert sums == DayUsage(
        input_units=3,  # of the answer that came too late; the others are counted as attempts
        cached_input_units=2,
        output_units=1,
        cost_nano=amounts[EntryKind.SPEND],
        operator_nano=operator,
    )
