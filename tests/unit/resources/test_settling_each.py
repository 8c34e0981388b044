"""Attempts that are settled one after the other: who waits in vain keeps only its own client waiting."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from aifactory.kernel.ids import ClientId, JobId, new_id
from aifactory.resources import settlement
from aifactory.resources.interface import Outcome
from aifactory.resources.job_ends import Ended
from aifactory.resources.settlement import Settled

pytestmark = pytest.mark.anyio


async def test_where_one_waits_in_vain_its_client_is_left_for_later_and_others_are_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locked, free = ClientId(new_id()), ClientId(new_id())
    tried: list[Ended] = []

    async def settle_alone(_: Any, one: Ended, __: Any) -> Settled | Ended:
        tried.append(one)
        if one.client_id == locked:
            return msgspec.structs.replace(one, tries=one.tries + 1)
        return Settled(settled=1, late=0, opened=0, finished=())

    monkeypatch.setattr(settlement, "_settle_alone", settle_alone)
    group = [
        Ended(job_id=JobId(new_id()), token=uuid4(), outcome=Outcome(), client_id=client)
        for client in (locked, free, locked, None, locked, free, None)
    ]
    done, again = await settlement._settle_each(None, group, {})  # type: ignore[arg-type]
    assert [one.client_id for one in tried] == [locked, free, None, free, None]
    assert len(done) == 4
    assert [(one.client_id, one.tries) for one in again] == [(locked, 1), (locked, 0), (locked, 0)]
