"""Secrets at rest: a text field that is encrypted in the database (design §7).

The key is its own secret beside the installation, or `SLIPWAY_ENCRYPTION_KEYS`: several, comma-separated,
newest first, so that keys can be rotated.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

from console import env


class Unreadable(Exception):
    """The stored secret was encrypted with a key that this installation does not hold."""


@lru_cache(maxsize=1)
def _cipher() -> MultiFernet:
    keys = env.words("SLIPWAY_ENCRYPTION_KEYS") or [env.kept_secret(settings.SLIPWAY_VAR / "encryption.key")]
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys]
    )


def encrypt(plain: str) -> str:
    """`plain` as printable ciphertext."""
    return _cipher().encrypt(plain.encode()).decode("ascii")


def decrypt(stored: str) -> str:
    """The plain text of `stored`; raises Unreadable when no key opens it."""
    try:
        return _cipher().decrypt(stored.encode("ascii")).decode()
    except InvalidToken as error:
        raise Unreadable("a stored secret cannot be read with this installation's keys") from error


class EncryptedTextField(models.TextField):
    """Text that the database sees only as ciphertext; the empty string stays empty."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return encrypt(value) if value else value

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return decrypt(value) if value else value
