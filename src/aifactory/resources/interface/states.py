"""The states of executions, stages and jobs, and the choices a request has."""

from enum import StrEnum


class Tier(StrEnum):
    """A client's tier, lowest first."""

    BASIC = "basic"
    STANDARD = "standard"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """0 for basic to 3 for enterprise."""
        return list(Tier).index(self)


class Urgency(StrEnum):
    """How urgent a request is; decides its queue."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Accuracy(StrEnum):
    """Whether the cheapest allowed model may start (normal) or not (high)."""

    NORMAL = "normal"
    HIGH = "high"


class ExecutionState(StrEnum):
    """The states of an execution."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (ExecutionState.QUEUED, ExecutionState.RUNNING)


class StageState(StrEnum):
    """The states of a stage."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """The states of a job."""

    SCHEDULED = "scheduled"
    READY = "ready"
    FOLLOWING = "following"
    RUNNING = "running"
    AT_PROVIDER = "at_provider"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    POISONED = "poisoned"
