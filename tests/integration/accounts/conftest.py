"""Fixtures of accounts: passwords that are quick to check."""

import pytest
from argon2 import PasswordHasher

from aifactory.accounts import passwords


class RecordingHasher(PasswordHasher):
    """A quick hasher that remembers what work it did."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.done: list[str] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """Hash a password."""
        hashed = super().hash(password, salt=salt)
        self.done.append("hash")
        return hashed

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        """Compare a password; a hash that is none costs no work."""
        try:
            return super().verify(hash, password)
        finally:
            if str(hash).startswith("$argon2id$v="):
                self.done.append("verify")


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> RecordingHasher:
    quick = RecordingHasher()
    monkeypatch.setattr(passwords, "_hasher", quick)
    return quick
