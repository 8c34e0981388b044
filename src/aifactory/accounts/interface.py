"""The door of accounts: its errors, and the object that implements what the Resource Manager asks for."""

from typing import Protocol, runtime_checkable

from aifactory.kernel.errors import Conflict, NotAllowed, NotAuthenticated, NotFound
from aifactory.resources.interface import RequestBook, TemplateSource

DRAFT = "draft"  #: the state of a request that was never executed


@runtime_checkable
class Accounts(TemplateSource, RequestBook, Protocol):
    """What accounts give to the Resource Manager."""


class BadLogin(NotAuthenticated):
    """Unknown login or wrong password: which of them is not said."""

    code, title = "bad_login", "Login or password is wrong"


class WrongPassword(NotAllowed):
    """The present password, asked for again before a change, is another one."""

    code, title = "wrong_password", "The present password is wrong"


class UserNotFound(NotFound):
    """There is no user with this id."""

    code, title = "user_not_found", "There is no such user"


class LoginTaken(Conflict):
    """Another user has this login; logins differ by more than upper and lower case."""

    code, title = "login_taken", "This login is taken"


class LastAdmin(Conflict):
    """Nobody could administer the factory any more; make another admin first."""

    code, title = "last_admin", "This is the last active admin"


class CredentialNotFound(NotFound):
    """There is no worker credential with this id."""

    code, title = "credential_not_found", "There is no such worker credential"


class WorkerHasCredential(Conflict):
    """A worker has one secret; ``overlapMs`` replaces it, and says how long the old one goes on working."""

    code, title = "worker_has_credential", "This worker has a credential already"


class KeyNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "key_not_found", "There is no such API key"


class TooManyKeys(Conflict):
    """A client may have 50 live keys, and 100 while keys that it rotated still work; revoke one."""

    code, title = "too_many_keys", "Too many live API keys"


class KeyNotLive(Conflict):
    """The key has expired or was revoked, so it can't be rotated."""

    code, title = "key_not_live", "This API key no longer works"


class TemplateNotFound(NotFound):
    """No active master template has this name; ``nearNames`` lists similar ones."""

    code, title = "template_not_found", "There is no such template"


class TemplateExists(Conflict):
    """The name is taken; PUT makes a new version."""

    code, title = "template_exists", "This template exists already"


class RequestNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "request_not_found", "There is no such request"


class RequestNotStarted(Conflict):
    """The request is a draft; execute it first. ``currentState`` is draft."""

    code, title = "not_started", "This request was never executed"


class RequestRunning(Conflict):
    """The request's execution has not ended; ``currentState`` says where it is."""

    code, title = "already_running", "This request is being executed"


class NothingToRetry(Conflict):
    """The latest execution runs still, or succeeded; ``currentState`` says which."""

    code, title = "not_retryable", "There is nothing to retry"


class RequestNotFinished(Conflict):
    """There is no result yet; ``currentState`` says where it is."""

    code, title, retryable = "not_finished", "There is no result yet", True


class WebhookNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "webhook_not_found", "There is no such webhook"


class DeliveryNotFound(NotFound):
    """Unknown, another endpoint's, or removed after 30 days."""

    code, title = "delivery_not_found", "There is no such delivery"


class TooManyWebhooks(Conflict):
    """A client has as many webhooks as it may; delete one."""

    code, title = "too_many_webhooks", "Too many webhooks"


class WebhookInactive(Conflict):
    """The webhook gets nothing; ``disabledReason`` says why, and ``active: true`` changes it."""

    code, title = "webhook_inactive", "This webhook is switched off"


class AlreadyTesting(Conflict):
    """A test message is still on its way to this webhook; its deliveries show what comes of it."""

    code, title, retryable = "already_testing", "A test is on its way", True
