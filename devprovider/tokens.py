"""Token counts by a rule of thumb, and which part of a prompt was seen before."""

from collections import OrderedDict
from hashlib import blake2b

BYTES_PER_TOKEN = 4
CACHE_STEP = 128
MAX_PREFIXES = 200_000


def count_tokens(text: str) -> int:
    """Roughly four characters of English a token; other scripts take more, as with real tokenisers."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cut_tokens(text: str, tokens: int) -> str:
    """The first tokens of a text; a character that would be cut in two is left out."""
    encoded = text.encode("utf-8", "surrogatepass")[: tokens * BYTES_PER_TOKEN]
    return encoded.decode("utf-8", "ignore")


class PrefixCache:
    """Remembers the beginnings of prompts per model, in steps of CACHE_STEP tokens; forgets the oldest."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def cached_tokens(self, model: str, prompt: str, least: int) -> int:
        """Tokens of the longest beginning seen before, 0 below ``least``; the prompt is remembered."""
        longest, known = 0, True
        for tokens, name in _prefixes(model, prompt):
            known = known and name in self._known
            if known:
                longest = tokens
            self._known[name] = None
            self._known.move_to_end(name)
        while len(self._known) > MAX_PREFIXES:
            self._known.popitem(last=False)
        return longest if longest >= max(1, least) else 0

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def _prefixes(model: str, prompt: str) -> list[tuple[int, bytes]]:
    digest = blake2b(model.encode() + b"\0", digest_size=16)
    encoded = prompt.encode("utf-8", "surrogatepass")
    step = CACHE_STEP * BYTES_PER_TOKEN
    found = []
    for end in range(step, len(encoded) + 1, step):
        digest.update(encoded[end - step : end])
        found.append((end // BYTES_PER_TOKEN, digest.digest()))
    return found
