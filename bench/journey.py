"""From the confirmation to the first correct answer, with the environment built already; aim: at most 3 s.

A live stack of its own; the deployment is the call that the confirmation page makes, the answer comes through the
gateway with the key.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.conf import settings

from tests.live.driver import Driver
from tests.live.stack import LiveStack, live_stack
from tests.waiting import until

PACKAGE = "onnx-digits"
ROUNDS = 5
PATIENCE = 300.0


def main() -> None:
    """Measure and print one Markdown table."""
    sample = (settings.BASE_DIR / "examples" / PACKAGE / "model" / "sample.json").read_text()
    with tempfile.TemporaryDirectory() as folder, live_stack(Path(folder) / "var") as stack:
        driver = Driver(stack.environment)
        try:
            first = _import(driver, "digits")
            again = statistics.median(_import(driver, f"digits-{n}") for n in range(3))
            version = driver.import_model(name="digits", path=PACKAGE)
            until(lambda: driver.version_state(pk=version)["status"] == "published", PATIENCE)
            answers = [_deploy(stack, driver, version, sample, n) for n in range(ROUNDS)]
        finally:
            driver.close()
    print("| step | seconds |\n| --- | --: |")
    print(f"| import to Normal, environment to be built | {first:.2f} |")
    print(f"| import to Normal, environment shared (median of 3) | {again:.2f} |")
    print(f"| confirm to first answer (median of {ROUNDS}) | {statistics.median(answers):.2f} |")
    print(f"| confirm to first answer (slowest of {ROUNDS}) | {max(answers):.2f} |")


def _import(driver: Driver, name: str) -> float:
    began = time.monotonic()
    version = driver.import_model(name=name, path=PACKAGE)
    until(lambda: driver.version_state(pk=version)["status"] == "published", PATIENCE, "the import")
    return time.monotonic() - began


def _deploy(stack: LiveStack, driver: Driver, version: str, sample: str, number: int) -> float:
    began = time.monotonic()
    service = driver.deploy(name=f"bench-{number}", version=version)
    key = driver.service_state(pk=service)["key"]
    until(lambda: _label(stack, service, key, sample) == [8], PATIENCE, "the first answer")
    took = time.monotonic() - began
    until(lambda: driver.service_state(pk=service)["status"] == "running", PATIENCE, "running")
    driver.act(pk=service, act="delete")
    until(lambda: driver.service_state(pk=service)["status"] == "absent", PATIENCE, "the end")
    return took


def _label(stack: LiveStack, service: str, key: str, sample: str) -> list[int] | None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.gateway_port, timeout=30)
    try:
        headers = {"X-Apig-AppCode": key, "Content-Type": "application/json"}
        connection.request("POST", f"/v1/infers/{service}", sample, headers)
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body)["outputs"]["label"] if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


if __name__ == "__main__":
    main()
