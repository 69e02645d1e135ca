"""The declared contract, limits, counters, description and draining of a running predictor."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import jsonschema
import pytest

from .conftest import REPOSITORY, Running, make_package, predictor, table_api, until, wait_until_ready

HEAD = "from model_service.python_model_service import XgSklServingBaseService\n"
ECHO = HEAD + textwrap.dedent(
    """
    import time
    from pathlib import Path
    class Echo(XgSklServingBaseService):
        def _preprocess(self, data): return data.parsed
        def _inference(self, data):
            if isinstance(data, dict) and data.get("wait"):
                Path(data["mark"]).touch()
                time.sleep(data["wait"])
            return data
        def _postprocess(self, data): return data
    """
)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that checks the documented table and gives the body back."""
    package = make_package(
        tmp_path_factory.mktemp("echo"), "Scikit_Learn", model={}, code=ECHO, api=table_api()
    )
    with predictor(
        package, "Scikit_Learn", "--name", "echo", "--version", "1.2.3", "--limit-bytes", "100000"
    ) as one:
        yield one


def row(**cells: object) -> dict:
    return {"sepal_len": 1, "sepal_wid": 2, "petal_len": 3, "petal_wid": 4, **cells}


@pytest.mark.parametrize(
    ("body", "place", "rule"),
    [
        ([], "at $:", "rule type"),
        ({}, "at $:", "rule required"),
        ({"data": 5}, "at $.data:", "rule type"),
        ({"data": {"req_data": [row(petal_len="long")]}}, "at $.data.req_data[0].petal_len:", "rule type"),
        (
            {"data": {"req_data": [row(), row(petal_wid=None)]}},
            "at $.data.req_data[1].petal_wid:",
            "rule type",
        ),
        ({"data": {"req_data": [row(), {}]}}, "at $.data.req_data[1]:", "rule required"),
    ],
)
def test_a_body_that_breaks_the_schema_is_400_with_place_and_rule(echo, body, place, rule):
    answer = echo.client.post("/", json=body)
    assert answer.status_code == 400
    found = answer.json()
    assert found["error_code"] == "APIG.0201"
    assert place in found["error_msg"]
    assert rule in found["error_msg"]


def test_a_body_that_keeps_the_schema_reaches_the_model(echo):
    body = {"data": {"req_data": [row(), row(extra="is allowed")]}}
    assert echo.client.post("/", json=body).json() == body


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 5000])
def test_a_body_that_is_not_json_is_400(echo, content):
    answer = echo.client.post("/", content=content)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "APIG.0201"


def test_a_form_for_a_json_api_is_415(echo):
    assert echo.client.post("/", files={"a": b"b"}).status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/", "POST"),
        ("DELETE", "/", "POST"),
        ("POST", "/health", "GET"),
        ("GET", "/v2/models/echo/infer", "POST"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_one(echo, method, path, allowed):
    answer = echo.client.request(method, path)
    assert answer.status_code == 405
    assert "Method Not Allowed" in answer.json()["error_msg"]
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/v2/models/other", "/v2/models/echo/versions/9/ready", "/../etc/passwd"]
)
def test_an_unknown_address_is_404(echo, path):
    answer = echo.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "APIG.0101"


@pytest.mark.parametrize("size", [100_001, 300_000, 2_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_413(echo, size, chunked):
    content = (b"x" * min(50_000, size - sent) for sent in range(0, size, 50_000)) if chunked else b"x" * size
    try:
        answer = echo.client.post("/", content=content)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        assert size > 400_000, "a body a little above the limit gets its answer, not a reset"
        return
    assert answer.status_code == 413
    assert "larger than 100000 bytes" in answer.json()["error_msg"]


def test_a_large_body_below_the_limit_arrives_whole(echo):
    body = {"data": {"req_data": [row(text="x" * 90_000)]}}
    text = json.dumps(body).encode()
    assert echo.client.post("/", content=text).json() == body
    pieces = (text[at : at + 7000] for at in range(0, len(text), 7000))
    assert echo.client.post("/", content=pieces).json() == body


def test_health_and_readiness_say_so(echo):
    assert echo.client.get("/health").json() == {"health": "true"}
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/echo/ready",
        "/v2/models/echo/versions/1.2.3/ready",
    ):
        assert echo.client.get(path).status_code == 200


def test_the_socket_is_for_the_own_user_only(echo):
    assert stat.S_IMODE(echo.socket.stat().st_mode) == 0o600


def test_metrics_count_calls_by_status(echo):
    def count(code: int) -> int:
        wanted = f'slipway_predictor_requests_total{{api="declared",code="{code}"}} '
        lines = [line for line in echo.client.get("/metrics").text.splitlines() if line.startswith(wanted)]
        return int(lines[0].rpartition(" ")[2]) if lines else 0

    before = count(200), count(400)
    echo.client.post("/", json={"data": {"req_data": []}})
    echo.client.post("/", json=5)
    assert (count(200), count(400)) == (before[0] + 1, before[1] + 1)
    page = echo.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'slipway_predictor_model_info{model="echo",version="1.2.3",engine="Scikit_Learn"} 1' in page.text
    for line in page.text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


def test_the_description_holds_the_declared_schemas(echo):
    found = echo.client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    assert found["info"] == {"title": "echo", "version": "1.2.3"}
    operation = found["paths"]["/"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    rows = schema["properties"]["data"]["properties"]["req_data"]
    assert rows["items"]["required"] == ["sepal_len", "sepal_wid", "petal_len", "petal_wid"]
    for item in found["paths"].values():
        for one in item.values():
            assert all("description" in response for response in one["responses"].values())


def test_a_get_api_takes_its_parameters_from_the_address(tmp_path):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "deep": {"type": "boolean"}},
        "required": ["n"],
    }
    api = {"url": "/", "method": "get", "request": {"Content-type": "application/json", "data": schema}}
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO, api=api)
    with predictor(package, "Scikit_Learn") as running:
        get = running.client.get
        assert get("/", params={"n": 5, "deep": "true", "x": "y"}).json() == {"n": 5, "deep": True, "x": "y"}
        assert get("/").status_code == 400
        assert get("/", params={"n": "five"}).status_code == 400
        assert running.client.post("/", json={"n": 5}).status_code == 405
        parameters = get("/openapi.json").json()["paths"]["/"]["get"]["parameters"]
    assert [one["name"] for one in parameters] == ["n", "deep"]


def test_a_schema_that_is_none_ends_the_start_with_its_reason(tmp_path):
    api = {"url": "/", "method": "post", "request": {"data": {"type": "strange"}}}
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO, api=api)
    with predictor(package, "Scikit_Learn", wait=False) as running:
        assert running.process.wait(60) == 65
        assert "is not a JSON Schema" in running.log


def test_sigterm_finishes_what_is_in_flight_takes_no_new_calls_and_exits_0(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    mark = tmp_path / "begun"
    with predictor(package, "Scikit_Learn") as running, ThreadPoolExecutor(1) as pool:
        running.client.get("/health")  # leaves an idle connection open, which must not hold up the stop
        body = {"wait": 1.5, "mark": str(mark)}
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(running.socket)), timeout=30) as other:
            slow = pool.submit(other.post, "http://model/", json=body)
            until(mark.exists, running)
            running.process.send_signal(signal.SIGTERM)
            until(lambda: refuses(running), running)
            answer = slow.result()
        assert running.process.wait(20) == 0
        assert answer.json() == body
        assert "stopping on SIGTERM: finishing 1 call(s)" in running.log
        assert not running.socket.exists()


def refuses(running: Running) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(running.socket))
        except OSError:
            return True
        return False


def test_a_call_that_never_ends_does_not_outlive_the_grace(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    mark = tmp_path / "begun"
    with predictor(package, "Scikit_Learn", "--grace-seconds", "1") as running:
        body = {"wait": 600, "mark": str(mark)}
        threading.Thread(target=ignore_errors, args=(running.client.post, "/"), kwargs={"json": body}).start()
        until(mark.exists, running)
        assert running.stop() == 0


def ignore_errors(call, *arguments, **named) -> None:
    try:
        call(*arguments, **named)
    except httpx.HTTPError:
        pass


def test_health_answers_while_the_model_computes_and_more_calls_than_may_wait_are_429(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    mark = tmp_path / "begun"
    with predictor(package, "Scikit_Learn", "--queue", "1") as running, ThreadPoolExecutor(2) as pool:
        first = pool.submit(running.client.post, "/", json={"wait": 1, "mark": str(mark)})
        until(mark.exists, running)
        second = pool.submit(running.client.post, "/", json={})
        until(lambda: "requests_in_flight 2" in running.client.get("/metrics").text, running)
        assert not first.done()
        third = running.client.post("/", json={})
        assert third.status_code == 429
        assert third.json()["error_code"] == "ModelArts.4206"
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        assert "requests_in_flight 0" in running.client.get("/metrics").text


def test_a_call_that_waited_too_long_is_not_run(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    mark = tmp_path / "begun"
    with predictor(package, "Scikit_Learn", "--queue-seconds", "1") as running, ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.client.post, "/", json={"wait": 2, "mark": str(mark)})
        until(mark.exists, running)
        late = running.client.post("/", json={})
        assert late.status_code == 503
        assert "was not run" in late.json()["error_msg"]
        assert first.result().status_code == 200


def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    with predictor(package, "Scikit_Learn") as running:
        assert running.stop(signal.SIGKILL) == -signal.SIGKILL
        assert running.socket.exists()
        running.process = type(running.process)(running.process.args)
        try:
            wait_until_ready(running)
            assert running.stop() == 0
        finally:
            running.process.kill()


def test_an_address_that_cannot_be_bound_is_one_clear_line(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    far = str(tmp_path / ("x" * 120))
    with predictor(package, "Scikit_Learn", "--uds", far, wait=False) as running:
        assert running.process.wait(60) == 71
        assert "cannot listen on" in running.log.splitlines()[-1]


def test_tcp_works_for_development(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=ECHO)
    command = [
        sys.executable,
        "-m",
        "deployments.predictor",
        "--package",
        str(package),
        "--engine",
        "Scikit_Learn",
    ]
    process = subprocess.Popen([*command, "--port", "0"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        ready = next(line for line in process.stderr if "ready on" in line)
        address = ready.rpartition(" ")[2].strip()
        assert httpx.get(f"http://{address}/health").json() == {"health": "true"}
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stderr.close()


def test_modules_of_a_model_that_are_named_like_those_of_the_server_do_no_harm(tmp_path):
    schema = {"type": "object", "properties": {"images": {"type": "file"}}}
    api = {"url": "/", "method": "post", "request": {"Content-type": "multipart/form-data", "data": schema}}
    code = "import queue_of_mine, application\n" + ECHO.replace("data.parsed", "sorted(data)")
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=code, api=api)
    (package / "model" / "queue_of_mine.py").touch()
    for name in (
        "application",
        "selectors",
        "socket",
        "queue",
        "signal",
        "resource",
        "forms",
        "schema",
        "orjson",
    ):
        (package / "model" / f"{name}.py").write_text("")
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", files={"images": ("a", b"b")})
        assert answer.json() == ["images"]
        assert running.client.get("/metrics").status_code == 200
        assert running.client.get("/openapi.json").status_code == 200
        assert running.stop() == 0
