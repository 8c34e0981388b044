"""Budgets in memory: what a client may hold and spend in a month, as admission and settle count it. Pure."""

from datetime import datetime

import msgspec

from aifactory.resources.budgets import month_of


class VirtualBudget(msgspec.Struct, kw_only=True):
    """A client's budget of a calendar month, in nano-dollars; ``limit_nano`` None: without a limit.

    What is held when a month ends is spent in the next: the books of the old one are closed.
    """

    limit_nano: int | None
    time_zone: str
    held_nano: int = 0
    spent_nano: int = 0
    month_ends_at: datetime | None = None
    total_nano: int = 0
    refused: int = 0

    def hold(self, nano: int, now: datetime) -> bool:
        """Hold a worst case, or refuse it: what is spent, held and new may not exceed the limit."""
        if self.month_ends_at is None or now >= self.month_ends_at:
            self.month_ends_at, self.spent_nano = month_of(now, self.time_zone).end, 0
        if self.limit_nano is not None and self.spent_nano + self.held_nano + nano > self.limit_nano:
            self.refused += 1
            return False
        self.held_nano += nano
        return True

    def pay(self, nano: int, *, held: int) -> None:
        """Replace a part of what is held by what was spent."""
        self.held_nano -= held
        self.spent_nano += nano
        self.total_nano += nano
