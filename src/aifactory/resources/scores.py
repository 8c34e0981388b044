"""The published score of a job, 0 to 100, and how usage fades. Pure.

``score = tier (0–40) + urgency (0–30) + waiting (0–20) + fairness (0–10)``
"""

import math
from datetime import datetime

from aifactory.resources.gates import QueueGate
from aifactory.resources.interface import Urgency

FAIRNESS_POINTS = 10.0
WAITING_POINTS = 20.0
USAGE_HALF_LIFE_SECONDS = 3600.0
URGENCY_POINTS = {Urgency.LOW: 0, Urgency.NORMAL: 10, Urgency.HIGH: 20, Urgency.URGENT: 30}


Parts = tuple[float, float, float, float]
"""The four parts of a score, as they are published: of the tier, the urgency, the wait, the fairness."""


def decayed(usage: float, seconds: float) -> float:
    """Return usage after some time: it halves every hour."""
    return usage * math.pow(0.5, max(0.0, seconds) / USAGE_HALF_LIFE_SECONDS)


def waiting_points(queue: QueueGate, aged_from: datetime, now: datetime) -> float:
    """Return 0 to 20 points, linear in the time waited, full after the queue's ``full_age_seconds``."""
    waited = (now - aged_from).total_seconds()
    points = WAITING_POINTS * waited / queue.full_age_seconds
    if points < 0.0:
        return 0.0
    return points if points < WAITING_POINTS else WAITING_POINTS
