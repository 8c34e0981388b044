"""Word lists as they are typed: words parted by white space."""


def word_set(words: str) -> frozenset[str]:
    """The set of the words in a text."""
    return frozenset(words.split())
