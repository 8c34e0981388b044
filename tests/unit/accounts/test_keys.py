"""Keys and tokens, taken apart."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from aifactory.accounts import keys


def test_a_key_has_the_documented_form_and_is_read_back() -> None:
    key = keys.make_key()
    assert len(key.text) == len("aif_") + 10 + 1 + 43 + 6
    assert keys.parse_key(key.text) == key
    assert keys.same_secret(key, key.sha256)
    assert not keys.same_secret(keys.make_key(), key.sha256)


def test_keys_and_tokens_do_not_repeat() -> None:
    assert len({keys.make_key().text for _ in range(1000)}) == 1000
    assert len({keys.make_token() for _ in range(1000)}) == 1000


@given(st.integers(min_value=0, max_value=63), st.characters(codec="ascii"))
def test_any_changed_character_is_noticed(position: int, character: str) -> None:
    text = keys.make_key().text
    changed = text[:position] + character + text[position + 1 :]
    assert (keys.parse_key(changed) is None) == (changed != text)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert keys.parse_key(text) is None
    assert keys.token_sha256(text) is None


def test_the_checksum_is_a_crc32_in_base62() -> None:
    head = "aif_0000000000_" + "0" * 43
    number = 0
    for digit in keys._checksum(head):
        number = number * 62 + keys._ALPHABET.index(digit)
    assert number == zlib.crc32(head.encode())
