"""What the Resource Manager refuses, and why."""

from aifactory.kernel.errors import AppError, Conflict, NotFound, TooMany


class MoneyRefused(AppError):
    """The budget does not allow it; the more exact codes say why."""

    code, title, status = "payment_required", "The budget does not allow that", 402


class BudgetExceeded(MoneyRefused):
    """It can't fit this period, whatever ends in the meantime."""

    code, title = "budget_exceeded", "This costs more than the budget has left"


class BudgetInUse(MoneyRefused):
    """It would fit if the client's own unfinished work did not hold the money."""

    code, title, retryable = "budget_in_use", "Your own unfinished work holds the budget", True


class QueueFull(TooMany):
    """The client has as many unfinished executions as it may."""

    code, title = "queue_full", "Too many unfinished executions"


class TierTooLow(AppError):
    """The template needs a higher tier; ``requiredTier`` says which."""

    code, title, status = "tier_too_low", "A higher tier is needed", 403


class ClientSuspended(AppError):
    """The operator has suspended the client."""

    code, title, status = "client_suspended", "This client is suspended", 403


class ExceedsPool(AppError):
    """One job would need more units than its pool can ever hold."""

    code, title, status = "exceeds_pool", "One step is larger than its pool", 422


class ExceedsQuota(AppError):
    """One job would need more units of a pool than the client's quota gives it in a whole period."""

    code, title, status = "exceeds_quota", "One step is larger than your quota", 422


class ClientNotFound(NotFound):
    """Unknown, or not the caller's."""

    code, title = "client_not_found", "There is no such client"


class DataNotFound(NotFound):
    """Unknown stored data, or another client's."""

    code, title = "data_not_found", "There is no such data"


class DataInUse(Conflict):
    """An unfinished execution works from it; it can be deleted when that has ended."""

    code, title = "data_in_use", "An unfinished execution needs this data"


class DataDamaged(AppError):
    """What is stored no longer has its checksum, so it is not given out; upload it again."""

    code, title = "data_damaged", "This stored data is damaged"


class StorageFull(Conflict):
    """The client has as much uploaded data as it may; delete some."""

    code, title = "storage_full", "Too much uploaded data"


class ExecutionNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "execution_not_found", "There is no such execution"


class UnfinishedWork(Conflict):
    """The client has ``unfinished`` executions; wait for them, or have them cancelled: cancelUnfinished."""

    code, title = "unfinished_work", "The client has unfinished work"


class AlreadyStarted(Conflict):
    """Something of it has run already, so it is in no queue any more; it can be cancelled."""

    code, title = "already_started", "This execution has started"


class ProviderNotFound(NotFound):
    """No model provider has this name."""

    code, title = "provider_not_found", "There is no such provider"


class ProviderReadOnly(Conflict):
    """The provider is built in, or defined by the providers file; change it there."""

    code, title = "provider_read_only", "This provider can't be changed here"
