"""The fleet at one moment: what it would decide, and what follows. Pure but for its clock of CPU."""

import time
from collections.abc import Mapping
from datetime import datetime

import msgspec

from aifactory.resources.gate_words import Fleet
from aifactory.resources.gates import Lane, Snapshot
from aifactory.resources.policy import Plan
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.foreseen import Foreseen
from aifactory.resources.virtual.known import Known

LONGEST_RUN_SECONDS = 0.5  #: of CPU, once the jobs that wait are in their places


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment, the plan that one process with all its slots would make, and what follows."""

    as_of: datetime
    plan: Plan
    fleet: Fleet
    forecast: Foreseen

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """Return the loaded lanes by id."""
        return self.plan.lanes


def planned(snapshot: Snapshot, as_of: datetime) -> tuple[Plan, float]:
    """Return a decided plan, and the seconds of CPU that it took."""
    began = time.thread_time()
    plan = Plan(snapshot, as_of)
    if not snapshot.enabled:
        plan.set_up()  # a decision leaves it out; what is told needs hops and standings all the same
    plan.decide()
    return plan, time.thread_time() - began


def foreseen(known: Known, as_of: datetime) -> tuple[Foreseen, float]:
    """Return a forecast, and the seconds of CPU that it took; it lets other threads run between two plans.

    However long a large fleet takes to be set up, its run goes on for as long as any other's: what was found
    in less would not be worth it.
    """
    began = time.thread_time()
    forecast = Forecast(known, as_of)
    going, runs_since = known.snapshot.enabled, time.thread_time()
    while going and time.thread_time() - runs_since < LONGEST_RUN_SECONDS:
        time.sleep(0)
        going = forecast.step()
    return forecast.found, time.thread_time() - began
