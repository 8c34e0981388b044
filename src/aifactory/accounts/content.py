"""What accounts keep of content, and how it is erased: requests, webhooks' messages, answers for replays."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from aifactory.accounts import content_queries as queries
from aifactory.accounts.webhook_rules import DELIVERIES_KEPT
from aifactory.kernel import idempotency
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import DataId, UserId
from aifactory.kernel.principal import Principal, Role
from aifactory.resources.interface import Erased, ErasedExecution, Resources, Term


class Requests:
    """Implements ``ContentKeeper`` for what accounts keep."""

    def __init__(self, *, resources: Resources) -> None:
        self.resources = resources

    async def erase_with(self, tx: Tx, executions: Sequence[ErasedExecution]) -> Erased:
        """See ``ContentKeeper.erase_with``. Locked first: who executes a request again is seen, or sees."""
        erasures = {one.request_id: one.erasure.value for one in executions}
        locked = await queries.lock_requests(tx, list(erasures))
        kept = await self.resources.requests_kept(tx, locked)
        due = {request_id: erasures[request_id] for request_id in locked if request_id not in kept}
        return Erased(requests=len(due), sources=tuple(await queries.erase_requests(tx, due)))

    async def erase_alone(self, tx: Tx, terms: Sequence[Term], limit: int) -> tuple[Erased, bool]:
        """See ``ContentKeeper.erase_alone``: drafts; messages and answers, where they don't expire first."""
        drafts = await queries.lock_drafts(tx, terms, limit)
        sources = await queries.erase_requests(tx, drafts) if drafts else []
        short = [term for term in terms if term.due_before > tx.now - DELIVERIES_KEPT]
        deliveries = await queries.erase_deliveries(tx, short, limit) if short else 0
        answers = [await self._erase_answers(tx, term, limit) for term in terms if _has_answers(term, tx.now)]
        erased = Erased(requests=len(drafts), others=deliveries + sum(answers), sources=tuple(sources))
        return erased, max(len(drafts), deliveries, *answers, 0) >= limit

    async def still_needed(self, tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
        """See ``ContentKeeper.still_needed``: the sources of requests."""
        return await queries.sources_named(tx, data_ids)

    async def _erase_answers(self, tx: Tx, term: Term, limit: int) -> int:
        """Erase what would be replayed to a client and its users."""
        key = Principal(role=Role.CLIENT, client_id=term.client_id)
        users = await queries.users_of(tx, term.client_id)
        callers = [key, *(msgspec.structs.replace(key, user_id=UserId(user_id)) for user_id in users)]
        scopes = [caller.stored_name for caller in callers]
        assert term.erase_before is not None
        return await idempotency.erase_answers(tx, scopes, term.erase_before, limit)


def _has_answers(term: Term, now: datetime) -> bool:
    """Whether an erasure was ordered so lately that answers from before may still be kept."""
    return term.erase_before is not None and term.erase_before > now - 2 * idempotency.KEPT
