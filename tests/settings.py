"""Settings for tests: a private `var` that is thrown away, nothing on the network."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "SLIPWAY_VAR" not in os.environ:
    _var = tempfile.mkdtemp(prefix="slipway-test-")
    os.environ["SLIPWAY_VAR"] = _var
    atexit.register(shutil.rmtree, _var, ignore_errors=True)

from console.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
DATABASES["default"].setdefault("TEST", {})  # noqa: F405
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # A file, not memory: races between threads are real only on a file.
    DATABASES["default"]["TEST"]["NAME"] = SLIPWAY_VAR / "test.sqlite3"  # noqa: F405
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_CONNECTION_RETRY = False
(SLIPWAY_VAR / "static").mkdir(exist_ok=True)  # noqa: F405
