"""Refusals in OpenAI's shape."""

from typing import Any


class ApiError(Exception):
    """A refusal: status, and what stands in ``error`` of the body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        fault: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers
        self.fault = fault

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        said = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": said}
