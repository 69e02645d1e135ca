"""Whole services: real files, environment, sandbox, predictor, supervisord, Envoy; no broker, no worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.urls import reverse

from console import processes
from console.models import Workspace
from console.stack import Stack
from deployments import converge, doors, runtimes, services, snippets, traffic
from deployments.gateway import envoy_bootstrap
from deployments.models import Instance, Service
from deployments.services import TargetSpec
from registry import services as registry_services
from registry.models import Connection, Version
from tests.deployments.making import names_of, work_on
from tests.deployments.runtimes.conftest import supervise
from tests.factories import make_user, make_workspace
from tests.live.stack import free_ports
from tests.needs import needs_program, needs_sandbox
from tests.registry.conftest import EXAMPLES, run_import
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]

CRASHING = """
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_name, model_path):
        import os
        if os.environ.get("BROKEN"):
            raise RuntimeError("this model cannot be loaded")
        super().__init__(model_path)
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[tuple[subprocess.Popen, int]]:
    """supervisord and Envoy of the tests' own installation; yields Envoy and its port."""
    needs_sandbox()
    var, run = configured.SLIPWAY_VAR, configured.SLIPWAY_RUN
    cache, kept = var / "uv-cache", configured.BASE_DIR / "var" / "test-uv-cache"
    kept.mkdir(parents=True, exist_ok=True)
    if not cache.exists():
        cache.symlink_to(kept, target_is_directory=True)
    port, unused = free_ports()
    supervisord = supervise(Stack(var, run, "127.0.0.1", unused, port))
    bootstrap = var / "envoy" / "bootstrap.yaml"
    envoy_bootstrap.write_bootstrap(
        bootstrap,
        host="127.0.0.1",
        port=port,
        config_dir=var / "envoy" / "config",
        admin_socket=run / "envoy.sock",
    )
    binary = envoy_bootstrap.find_envoy()
    with open(var / "envoy.log", "wb") as log:
        envoy = subprocess.Popen(envoy_bootstrap.command(bootstrap, binary), stdout=log, stderr=log)
    try:
        until(lambda: doors.gateway().ready(), what="Envoy")
        yield envoy, port
    finally:
        envoy.kill()
        envoy.wait(10)
        supervisord.terminate()
        supervisord.wait(30)


@pytest.fixture
def place(machine, settings) -> int:
    """The settings of that installation; yields the gateway's port."""
    _envoy, port = machine
    settings.SLIPWAY_HOST, settings.SLIPWAY_GATEWAY_PORT = "127.0.0.1", port
    settings.SLIPWAY_GATEWAY_URL = f"http://127.0.0.1:{port}"
    runtimes.get.cache_clear()
    services.seed_specifications()
    yield port
    runtimes.get.cache_clear()


@pytest.fixture
def here(place) -> Iterator[tuple[Any, Workspace]]:
    """An owner in a workspace; afterwards every service of it is deleted, and nothing is left."""
    workspace = make_workspace()
    owner = make_user(workspace)
    yield owner, workspace
    for service in Service.objects.all():
        if service.status in ("deploying", "stopping"):
            services.stop(actor=owner, service=service)
            service = work_on(service)
        if service.can_delete:
            services.delete(actor=owner, service=service)
        work_on(service)
    assert not Service.objects.exists()
    assert doors.runtime().list() == []
    assert _models_running() == []


def _models_running() -> list[int]:
    """The processes of model servers of this installation."""
    found = processes.of_installation(configured.SLIPWAY_VAR)
    return [pid for pid in found if "--package" in processes.command_of(pid)]


def imported(owner: Any, workspace: Workspace, folder: Path, name: str, settings: Any) -> Version:
    settings.SLIPWAY_LOCAL_ROOTS = [str(folder.parent.parent)]
    connection, _ = Connection.objects.get_or_create(
        workspace=workspace,
        name="local",
        defaults={"kind": Connection.LOCAL, "root": str(folder.parent.parent)},
    )
    version = registry_services.import_version(
        actor=owner,
        workspace=workspace,
        connection=connection,
        name=name,
        bucket=folder.parent.name,
        path=folder.name,
    )
    operation = run_import(version)
    assert version.status == "published", operation.problem
    return version


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    made = tmp_path / "objects 目录" / "models"
    made.mkdir(parents=True)
    for package in ("onnx-digits", "xgboost-iris", "sklearn-wine"):
        shutil.copytree(EXAMPLES / package, made / package)
    return made


def call(service: Service, body: Any, key: str | None = None, path: str = "") -> tuple[int, Any, str]:
    """One call from outside: status, answer, the version that answered."""
    request = urllib.request.Request(
        traffic.address(service) + path,
        json.dumps(body).encode(),
        {"X-Apig-AppCode": key or service.keys.get().secret, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer), answer.headers.get("x-model-version", "")
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), ""


def close(value: Any) -> Any:
    """`value` for a comparison whose numbers may differ in their last digits."""
    if isinstance(value, dict):
        return {name: close(each) for name, each in value.items()}
    if isinstance(value, list):
        return [close(each) for each in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def expected_of(package: str) -> tuple[Any, Any]:
    sample = json.loads((EXAMPLES / package / "model" / "sample.json").read_text())
    return sample, json.loads((EXAMPLES / package / "expected.json").read_text())


@pytest.mark.parametrize("package", ["onnx-digits", "xgboost-iris", "sklearn-wine"])
def test_a_service_answers_what_the_library_itself_computes(here, bucket, settings, client, package):
    owner, workspace = here
    version = imported(owner, workspace, bucket / package, package, settings)
    began = time.monotonic()
    service = services.deploy(
        actor=owner, workspace=workspace, name=package, targets=[TargetSpec(version.pk)]
    )
    service = work_on(service)
    assert service.status == "running", [event.sentence for event in service.events.all()]
    sample, expected = expected_of(package)
    status, answer, by = call(service, sample)
    print(f"confirm to first answer: {time.monotonic() - began:.2f} s")
    assert (status, by) == (200, version.number)
    assert answer == close(expected)
    assert call(service, sample, key="wrong")[0] == 401
    client.force_login(owner)
    url = reverse("deployments:service_predict", args=[service.pk])
    page = client.post(url, {"path": "/", "body": json.dumps(sample)}).content.decode()
    assert ">200<" in page and version.number in page
    openapi = client.get(reverse("deployments:service_openapi", args=[service.pk]))
    assert json.loads(openapi.content)["openapi"].startswith("3.")


@pytest.mark.parametrize("package", ["onnx-digits", "xgboost-iris"])
def test_what_the_usage_guide_shows_works_when_it_is_pasted(here, bucket, settings, package):
    owner, workspace = here
    needs_program("curl")
    version = imported(owner, workspace, bucket / package, package, settings)
    service = work_on(
        services.deploy(actor=owner, workspace=workspace, name=package, targets=[TargetSpec(version.pk)])
    )
    _sample, expected = expected_of(package)
    [api] = version.apis
    body = snippets.body_for(version, api)
    curl, python, inference = snippets.snippets_of(
        version, api, traffic.address(service), service.keys.get().secret, body
    )
    pasted = subprocess.run(["bash", "-c", curl.text], capture_output=True, text=True, timeout=60)
    assert json.loads(pasted.stdout) == close(expected), pasted.stderr
    ran = subprocess.run([sys.executable, "-c", python.text], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().startswith("{")
    v2 = subprocess.run([sys.executable, "-c", inference.text], capture_output=True, text=True, timeout=60)
    assert v2.returncode == 0, v2.stderr
    assert "outputs" in v2.stdout


def test_a_killed_instance_is_told_and_comes_back(here, bucket, settings):
    owner, workspace = here
    version = imported(owner, workspace, bucket / "onnx-digits", "digits", settings)
    service = work_on(
        services.deploy(actor=owner, workspace=workspace, name="digits", targets=[TargetSpec(version.pk)])
    )
    [pid] = _models_running()
    os.kill(pid, signal.SIGKILL)
    until(lambda: _models_running() not in ([], [pid]), what="started again by supervisord")
    until(lambda: converge.watch(), what="the watch noticing it")
    service = work_on(service)
    assert service.status == "running"
    told = [event for event in service.events.all() if event.code == "deployments.instance.restarted"]
    assert len(told) == 1 and told[0].params["restarts"] == 1
    assert service.events.filter(code="deployments.service.lost").exists()
    assert Instance.objects.get(service=service, status="ready").restarts == 1
    assert call(service, expected_of("onnx-digits")[0])[0] == 200


def test_scaling_stopping_and_a_new_version_lose_no_call(here, bucket, settings):
    owner, workspace = here
    one = imported(owner, workspace, bucket / "onnx-digits", "digits", settings)
    two = imported(owner, workspace, bucket / "onnx-digits", "digits", settings)
    assert (one.environment_id, two.number) == (two.environment_id, "0.0.2")
    service = work_on(
        services.deploy(actor=owner, workspace=workspace, name="digits", targets=[TargetSpec(one.pk)])
    )
    sample, _ = expected_of("onnx-digits")
    [first] = names_of(service, "ready")
    services.scale(actor=owner, service=service, instance_count=2)
    service = work_on(service)
    assert len(_models_running()) == 2 and first in names_of(service, "ready")
    services.modify(actor=owner, service=service, targets=[TargetSpec(two.pk)])
    service = work_on(service)
    assert (service.status, call(service, sample)[2]) == ("running", "0.0.2")
    assert len(_models_running()) == 1
    services.stop(actor=owner, service=service)
    service = work_on(service)
    assert service.status == "stopped" and _models_running() == []
    status, answer, _ = call(service, sample)
    assert (status, answer["error_code"], answer["reason"]) == (503, "ModelArts.4203", "stopped")


def test_an_update_whose_model_does_not_load_rolls_back_with_its_words(here, bucket, settings):
    owner, workspace = here
    folder = bucket / "iris-own"
    shutil.copytree(EXAMPLES / "xgboost-iris", folder)
    (folder / "model" / "customize_service.py").write_text(CRASHING)
    version = imported(owner, workspace, folder, "own", settings)
    service = work_on(
        services.deploy(actor=owner, workspace=workspace, name="own", targets=[TargetSpec(version.pk)])
    )
    assert service.status == "running"
    broken = TargetSpec(version.pk, envs={"BROKEN": "1"})
    services.modify(actor=owner, service=service, targets=[broken])
    service = work_on(service, most=100)
    assert (service.status, service.wanted_revision) == ("running", 1)
    sentences = " ".join(event.sentence for event in service.events.all())
    assert "this model cannot be loaded" in sentences
    assert call(service, expected_of("xgboost-iris")[0])[0] == 200


def test_after_a_restart_of_everything_the_service_is_back(here, bucket, settings, machine):
    """What `up` does at its start: nothing of the last run's instances is left."""
    owner, workspace = here
    version = imported(owner, workspace, bucket / "onnx-digits", "digits", settings)
    service = work_on(
        services.deploy(actor=owner, workspace=workspace, name="digits", targets=[TargetSpec(version.pk)])
    )
    runtime = doors.runtime()
    for observed in runtime.list():
        until(lambda id=observed.id: runtime.stop(id, 0) or runtime.list() == [], what="lost")
    assert _models_running() == []
    assert converge.watch() == 1
    service = work_on(service)
    assert service.status == "running"
    assert call(service, expected_of("onnx-digits")[0])[0] == 200
