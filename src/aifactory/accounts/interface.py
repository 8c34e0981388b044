"""The door of accounts: its errors, and the object that implements what the Resource Manager asks for."""

from typing import Protocol, runtime_checkable

from aifactory.kernel.errors import Conflict, NotAuthenticated, NotFound
from aifactory.resources.interface import RequestBook, TemplateSource

DRAFT = "draft"  #: the state of a request that was never executed


@runtime_checkable
class Accounts(TemplateSource, RequestBook, Protocol):
    """What accounts give to the Resource Manager."""


class BadLogin(NotAuthenticated):
    """Unknown login or wrong password: which of them is not said."""

    code, title = "bad_login", "Login or password is wrong"


class KeyNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "key_not_found", "There is no such API key"


class TooManyKeys(Conflict):
    """A client has as many live keys as it may; revoke one."""

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


class RequestNotFinished(Conflict):
    """There is no result yet; ``currentState`` says where it is."""

    code, title, retryable = "not_finished", "There is no result yet", True
