"""Builds one environment in a process of its own, for tests that run several builders or kill one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["SLIPWAY_VAR"] = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402

from registry import environments  # noqa: E402

predictor = Path(sys.argv[1], "predictor")
predictor.mkdir(exist_ok=True)
(predictor / "requirements.in").write_text("six>=1.16\n")
settings.SLIPWAY_PREDICTOR = predictor
info = environments.ensure(sys.argv[2:])
print(json.dumps({"digest": info.digest, "reused": info.reused}))
