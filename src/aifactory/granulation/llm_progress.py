"""How far a streamed answer is: an estimate of its tokens, told at most twice a second. Pure."""

from collections.abc import Callable

from aifactory.granulation.generation.bounds import tokens_at_most
from aifactory.granulation.llm_answers import Answer

TELL_SECONDS = 0.5

Tell = Callable[[int], None]
"""Takes the tokens that an answer has so far, estimated from its characters."""


class Telling:
    """Tells of one answer, each piece of which is counted once; without a ``tell`` nothing is done."""

    def __init__(self, *, tell: Tell | None) -> None:
        self._tell = tell
        self._next = float("-inf")
        self._pieces = 0
        self._tokens = 0

    def look(self, answer: Answer, now: float) -> None:
        """Tell how much there is at ``now`` (seconds of any clock), unless that was done just before."""
        if self._tell is None or now < self._next or len(answer.pieces) == self._pieces:
            return
        self._next = now + TELL_SECONDS
        self._tokens += tokens_at_most("".join(answer.pieces[self._pieces :]))
        self._pieces = len(answer.pieces)
        self._tell(self._tokens)
