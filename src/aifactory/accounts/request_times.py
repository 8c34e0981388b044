"""When a request may run, and what can't be asked for. Pure."""

from datetime import datetime, timedelta

from aifactory.kernel.errors import invalid
from aifactory.resources.interface import Urgency

LONGEST_AHEAD = timedelta(days=366)


def check_times(run_after: datetime | None, deadline: datetime | None, now: datetime) -> None:
    """Refuse times that have passed, are too far ahead, or in the wrong order. Raises Invalid."""
    if deadline is not None and deadline <= now:
        raise invalid("/deadline", "in_the_past", "The deadline has passed already.")
    for pointer, moment in (("/runAfter", run_after), ("/deadline", deadline)):
        if moment is not None and moment > now + LONGEST_AHEAD:
            raise invalid(pointer, "too_late", "At most 366 days ahead are taken.")
    if run_after is not None and deadline is not None and run_after >= deadline:
        raise invalid("/deadline", "before_run_after", "The deadline must be after runAfter.")


def check_off_peak(urgency: Urgency, timeout_ms: int | None) -> None:
    """Refuse off-peak work that is in a hurry. Raises Invalid."""
    if urgency is not Urgency.LOW:
        message = f"Only work of low urgency waits for the off-peak window; this is {urgency}."
        raise invalid("/optimization/offPeak", "not_low_urgency", message)
    if timeout_ms is not None:
        message = "timeoutMs counts from now on, and off-peak work starts later; give a deadline instead."
        raise invalid("/timeoutMs", "off_peak", message)
