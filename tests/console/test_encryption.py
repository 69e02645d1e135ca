"""Secrets at rest."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from console import encryption
from registry.models import Connection


def test_the_database_never_sees_the_secret(workspace: Any) -> None:
    made = Connection.objects.create(workspace=workspace, name="c", kind="s3", secret_key="open sesame")
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret_key FROM registry_connection")
        stored = cursor.fetchone()[0]
    assert "sesame" not in stored
    assert Connection.objects.get(pk=made.pk).secret_key == "open sesame"


def test_a_foreign_secret_is_refused_not_shown() -> None:
    with pytest.raises(encryption.Unreadable):
        encryption.decrypt("Z0FBQUFBQm5vdCBvdXJz")


def test_keys_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_ENCRYPTION_KEYS", "old")
    encryption._cipher.cache_clear()
    stored = encryption.encrypt("kept")
    monkeypatch.setenv("SLIPWAY_ENCRYPTION_KEYS", "new,old")
    encryption._cipher.cache_clear()
    try:
        assert encryption.decrypt(stored) == "kept"
    finally:
        encryption._cipher.cache_clear()
