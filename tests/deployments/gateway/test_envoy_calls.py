"""What a caller meets at a real Envoy: keys, paths, errors, limits, hostile requests."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter

import pytest

from deployments.gateway.base import Backend
from tests.deployments.gateway.harness import KEY, Caller, Model, World, route, wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def serve(world: World, one: Model):
    """Publish service `a` on one model, with options."""

    def publish(*more, label: str = "1.0.0", **options):
        world.gateway.publish([route("a", Backend("a-1", 100, label, (one.address,)), **options), *more])

    return publish


KEY_HEADERS = [
    {"X-Apig-AppCode": KEY},
    {"x-apig-appcode": KEY},
    {"X-Auth-Token": KEY},
    {"Authorization": f"Bearer {KEY}"},
]


@pytest.mark.parametrize("headers", KEY_HEADERS, ids=lambda h: next(iter(h)))
def test_the_key_opens_under_each_header_and_never_reaches_the_model(world, serve, headers):
    serve()
    reply = world.call(key=None, headers=headers)
    assert reply.status == 200
    assert KEY not in reply.body.decode()
    assert not {"x-apig-appcode", "x-auth-token", "authorization"} & set(reply.received)


def test_a_second_credential_header_does_not_reach_the_model_either(world, serve):
    serve()
    reply = world.call(headers={"Authorization": "Bearer another-secret", "X-Auth-Token": "third-secret"})
    assert reply.status == 200
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Apig-AppCode": "wrong"},
        {"X-Auth-Token": KEY + " "[:0] + "x"},
        {"Authorization": KEY[:5]},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"X-Apig-AppCode": "wrong", "X-Auth-Token": KEY},  # the first header named decides
        {"Cookie": f"X-Auth-Token={KEY}"},
    ],
)
def test_missing_and_wrong_keys_get_401_as_json(world, serve, headers):
    serve()
    reply = world.call("/v1/infers/a?key=" + KEY, key=None, headers=headers)
    assert reply.status == 401
    assert reply.json["error_code"] == "APIG.0301"
    assert set(reply.json) == {"error_code", "error_msg"}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.version is None


@pytest.mark.parametrize(
    ("called", "path", "query"),
    [
        ("/v1/infers/a", "/", ""),
        ("/v1/infers/a/", "/", ""),
        ("/v1/infers/a?x=1&y=%20z", "/", "x=1&y=%20z"),
        ("/v1/infers/a/v2/models/m/infer", "/v2/models/m/infer", ""),
        ("/v1/infers/a/deep/er/?q", "/deep/er/", "q"),
        ("/v1/infers/a/v1/infers/a", "/v1/infers/a", ""),
        ("/v1/infers/a/%E4%B8%AD", "/中", ""),
        ("/v1/infers/b/../a/x", "/x", ""),
        ("/v1//infers/a//x", "/x", ""),
        ("/v1/infers/a/../a/./y", "/y", ""),
    ],
)
def test_the_prefix_is_stripped_and_the_rest_and_the_query_are_kept(world, serve, called, path, query):
    serve()
    reply = world.call(called)
    assert (reply.status, reply.json["path"], reply.json["query"]) == (200, path, query)


@pytest.mark.parametrize(
    "called", ["/v1/infers/ab", "/v1/infers/a-1/x", "/v1/infers/A", "/v1/infers/a/../ab"]
)
def test_a_similar_address_is_another_service(world, serve, called):
    serve()
    reply = world.call(called)
    assert (reply.status, reply.json["error_code"]) == (404, "ModelArts.4204")


def test_services_with_similar_names_do_not_mix(world, serve, two):
    serve(route("ab", Backend("ab-1", 1, "9.0.0", (two.address,)), key="other"))
    assert world.call("/v1/infers/a/x").json["name"] == "one"
    assert world.call("/v1/infers/ab/x", key="other").json["name"] == "two"
    assert world.call("/v1/infers/ab/x").status == 401


@pytest.mark.parametrize(
    ("called", "code"),
    [
        ("/v1/infers", "ModelArts.4201"),
        ("/v1/infers/", "ModelArts.4201"),
        ("/", "ModelArts.4202"),
        ("/v2/infers/a", "ModelArts.4202"),
        ("/v1/infers/a/../..", "ModelArts.4202"),
    ],
)
def test_an_address_that_is_no_service_is_404_and_says_what_is_wrong(world, serve, called, code):
    serve()
    reply = world.call(called)
    assert (reply.status, reply.json["error_code"]) == (404, code)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "called", ["/v1/infers/a%2fb", "/v1/infers/b%2F..%2Fa", "/v1/infers/a%5c..%5cb", "/v1/infers/a%00"]
)
def test_escaped_slashes_and_nul_are_refused(world, serve, called):
    serve()
    reply = world.call(called)
    assert reply.status == 400
    assert reply.json["error_code"] in ("APIG.0101", "APIG.0201")


def test_a_service_that_is_not_running_says_why(world, serve):
    serve(route("s", unavailable="stopped"))
    reply = world.call("/v1/infers/s")
    assert reply.status == 503
    assert reply.json["error_code"] == "ModelArts.4203"
    assert reply.json["reason"] == "stopped"
    assert "stopped" in reply.json["error_msg"]
    assert reply.headers["content-type"] == "application/json"


def test_calls_spread_by_weight_and_each_answer_names_its_version(world, one, two):
    world.gateway.publish(
        [route("a", Backend("a-1", 80, "1.0.0", (one.address,)), Backend("a-2", 20, "2.0.0", (two.address,)))]
    )
    caller = Caller(world.port)
    seen = Counter()
    for _ in range(2000):
        reply = caller.call("/v1/infers/a")
        seen[reply.json["name"], reply.version] += 1
    caller.close()
    assert set(seen) == {("one", "1.0.0"), ("two", "2.0.0")}
    # 400 expected, standard deviation 18: five of them.
    assert 310 <= seen["two", "2.0.0"] <= 490


def test_a_version_label_is_text_and_no_format(world, serve):
    serve(label="1.0 %START_TIME% %")
    assert world.call().version == "1.0 %START_TIME% %"


def test_the_model_cannot_claim_another_version_or_server(world, serve):
    serve()
    reply = world.call()
    assert reply.version == "1.0.0"
    assert reply.headers["server"] == "slipway"
    assert not [name for name in reply.headers if name.startswith("x-envoy")]


def test_a_body_over_the_limit_is_413_whether_announced_or_chunked(world, serve):
    serve(body_bytes=1000)
    assert world.call(body=b"x" * 1000).json["size"] == 1000
    for chunked in (False, True):
        reply = world.call(body=b"x" * 1001, chunked=chunked)
        assert (reply.status, reply.json["error_code"]) == (413, "APIG.0201")
        assert reply.headers["content-type"] == "application/json"


def test_without_a_key_a_large_body_is_401_and_not_413(world, serve):
    serve(body_bytes=1000)
    assert world.call(key=None, body=b"x" * 2000).status == 401


def test_the_default_limit_is_12_mib(world, serve):
    """Envoy answers before the body is there and closes soon after: callers that read the answer get it."""
    serve()
    size = 12 * 1024 * 1024
    assert world.call(body=b"x" * size).json["size"] == size
    head = HEAD + f"Content-Length: {size + 1}\r\n\r\n".encode()
    answer = world.raw(head + b"x" * (size + 1))
    assert answer.startswith(b"HTTP/1.1 413 ") and b"APIG.0201" in answer


def test_a_model_that_takes_too_long_is_504(world, serve):
    serve(timeout_seconds=1)
    begun = time.monotonic()
    reply = world.call("/v1/infers/a?sleep=5")
    assert (reply.status, reply.json["error_code"]) == (504, "ModelArts.4503")
    assert 0.9 < time.monotonic() - begun < 3


def test_a_caller_cannot_change_time_limits_or_retries(world, serve):
    serve(timeout_seconds=1)
    headers = {
        "x-envoy-upstream-rq-timeout-ms": "20000",
        "x-envoy-max-retries": "5",
        "x-envoy-retry-on": "5xx",
    }
    reply = world.call("/v1/infers/a?sleep=3", headers=headers)
    assert reply.status == 504
    assert not [name for name in world.call(headers=headers).received if name.startswith("x-envoy")]


def test_what_the_model_answers_is_passed_on_as_it_is(world, serve):
    serve()
    for status in (400, 401, 404, 413, 500, 503, 504):
        reply = world.call(f"/v1/infers/a?status={status}")
        assert reply.status == status
        assert reply.json["name"] == "one"
    assert world.call().status == 200, "errors of a model are no reason to skip its instance"


def test_no_instance_behind_the_socket_is_503_as_json(world):
    gone = str(world.run / "never.sock")
    world.gateway.publish([route("a", Backend("a-1", 1, "1.0.0", (gone,)))])
    reply = world.call()
    assert (reply.status, reply.json["error_code"]) == (503, "ModelArts.4302")
    assert gone not in reply.body.decode()


def test_a_lone_instance_that_comes_back_answers_at_once(world):
    """It was ejected while it was gone; with nobody else to ask, it is asked again without waiting for the
    end of that.
    """
    model = world.model("phoenix")
    world.gateway.publish([route("a", Backend("phoenix-1", 1, "1.0.0", (model.address,)))])
    assert world.call().status == 200
    model.kill()
    assert [world.call().status for _ in range(10)] == [503] * 10
    world.model("phoenix")
    assert world.call().status == 200


HEAD = f"POST /v1/infers/a HTTP/1.1\r\nHost: x\r\nX-Apig-AppCode: {KEY}\r\n".encode()
SMUGGLED = b"GET /v1/infers/a/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
HOSTILE = {
    "length and chunked": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunked and length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + SMUGGLED,
    "a length list": HEAD + b"Content-Length: 0, 50\r\n\r\n" + SMUGGLED,
    "a signed length": HEAD + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a hexadecimal length": HEAD + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "chunked twice": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "almost chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "no chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n" + SMUGGLED,
    "huge chunk size": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n"
    + SMUGGLED,
    "NUL in a header": HEAD + b"X-A: b\x00c\r\n\r\n" + SMUGGLED,
    "no host": f"POST /v1/infers/a HTTP/1.1\r\nX-Apig-AppCode: {KEY}\r\n\r\n".encode() + SMUGGLED,
    "too many headers": HEAD + b"".join(b"x-%d: a\r\n" % n for n in range(150)) + b"\r\n" + SMUGGLED,
    "too large headers": HEAD + b"x: " + b"a" * 70_000 + b"\r\n\r\n" + SMUGGLED,
    "HTTP/1.0": b"POST /v1/infers/a HTTP/1.0\r\nHost: x\r\n\r\n" + SMUGGLED,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_ambiguous_requests_are_refused_and_the_connection_ends(world, serve, name):
    serve()
    answer = world.raw(HOSTILE[name])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"408", b"413", b"426", b"431", b"501"), answer
    assert b"smuggled" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows must not be read as a request"
    assert json.loads(body)["error_code"].startswith("APIG.")


def test_a_bare_carriage_return_cannot_make_a_header(world, serve):
    serve()
    answer = world.raw(HEAD + b"X-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") or "x-b" not in dict(
        json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
    )


def test_headers_of_the_connection_end_at_the_gateway(world, serve):
    serve()
    given = {
        "Connection": "x-hop, close",
        "x-hop": "1",
        "Proxy-Connection": "x",
        "Upgrade-Insecure-Requests": "1",
    }
    received = world.call(headers=given | {"x_auth_token": "y", "x-kept": "z"}).received
    assert not {"x-hop", "proxy-connection", "x_auth_token"} & set(received)
    assert received["x-kept"] == "z"


def test_upgrade_and_connect_are_refused(world, serve):
    serve()
    upgrade = HEAD.replace(b"POST", b"GET") + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert world.raw(upgrade).startswith(b"HTTP/1.1 403 ")
    tunnel = f"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nX-Apig-AppCode: {KEY}\r\n\r\n".encode()
    assert world.raw(tunnel).split(b" ")[1].startswith(b"4")


def test_another_origin_gets_no_permission(world, serve):
    serve()
    for method in ("OPTIONS", "POST"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        reply = world.call(method=method, headers=headers)
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_http2_is_understood(world, serve):
    serve()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    answer = world.raw(preface)
    assert answer[3:4] == b"\x04", "the answer is a SETTINGS frame"


def test_a_connection_stays_open_between_calls(world, serve):
    serve()
    caller = Caller(world.port)
    caller.call("/v1/infers/a")
    first = caller.connection.sock
    for path in ("/v1/infers/a", "/v1/infers/a?status=500"):
        caller.call(path)
    assert caller.connection.sock is first
    caller.close()


def test_an_idle_upstream_connection_is_no_trap(world, serve):
    """The model server closes idle connections after 5 s; Envoy must have closed them before."""
    serve()
    caller = Caller(world.port)
    assert caller.call("/v1/infers/a").status == 200
    time.sleep(5.2)  # the subject of this test, not luck
    assert caller.call("/v1/infers/a").status == 200
    caller.close()


def test_more_connections_than_the_limit_are_refused_and_those_that_stand_go_on(fresh_world):
    fresh_world.options = {"max_connections": 5}
    fresh_world.start()
    model = fresh_world.model("m")
    fresh_world.gateway.publish([route("a", Backend("a-1", 1, "1.0.0", (model.address,)))])
    open_ = []
    for _ in range(5):
        caller = Caller(fresh_world.port)
        assert caller.call("/v1/infers/a").status == 200
        open_.append(caller)
    with socket.create_connection(("127.0.0.1", fresh_world.port), timeout=5) as extra:
        extra.settimeout(5)
        try:
            assert extra.recv(1) == b""
        except ConnectionResetError:
            pass
    assert [caller.call("/v1/infers/a").status for caller in open_] == [200] * 5
    for caller in open_:
        caller.close()


def test_the_access_log_holds_neither_key_nor_query(fresh_world):
    log = fresh_world.run / "access.log"
    fresh_world.options = {"access_log": log}
    fresh_world.start()
    model = fresh_world.model("m")
    fresh_world.gateway.publish([route("a", Backend("a-1", 1, "1.0.0", (model.address,)))])
    fresh_world.call("/v1/infers/a/x?token=secret")
    wait_for(lambda: log.exists() and log.read_text(), what="a line in the access log")
    [line] = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["status"], line["service"], line["path"], line["cluster"]) == (200, "a", "/x", "a-1")
    assert KEY not in log.read_text() and "secret" not in log.read_text()
