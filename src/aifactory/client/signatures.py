"""Makes a method look like the plan that it carries out, for ``help`` and for editors."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

M = TypeVar("M", bound=Callable[..., Any])


def like(plan: Callable[..., Any], method: M, *, returns: object = None) -> M:
    """Give a method the name, the words and the parameters of a plan, and what the plan returns."""
    method.__name__ = plan.__name__
    method.__qualname__ = plan.__qualname__
    method.__doc__ = plan.__doc__
    named = inspect.signature(plan)
    self_, *rest = named.parameters.values()
    parameters = [self_.replace(name="self", annotation=inspect.Parameter.empty), *rest]
    found = returns or get_args(named.return_annotation)[-1]
    method.__signature__ = named.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=found
    )
    return method
