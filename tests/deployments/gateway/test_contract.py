"""What every gateway promises. Runs against Envoy and against the fake, so that the fake cannot lie."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from deployments.gateway.base import Backend, Gateway, GatewayRejected, GatewayUnreachable, Route
from tests.deployments.gateway.fake import Answered, FakeGateway
from tests.deployments.gateway.harness import KEY, Model, World, route

OTHER_KEY = "k-fedcba9876543210"


class FakeDoor:
    def __init__(self) -> None:
        self.gateway = FakeGateway()

    def backend(self, cluster: str = "a-1", weight: int = 100, label: str = "1.0.0") -> Backend:
        return Backend(cluster, weight, label, (f"/run/{cluster}.sock",))

    def call(self, service_id: str = "a", key: str | None = KEY, status: int = 200) -> Answered:
        return self.gateway.answer(service_id, key, status)

    def go_down(self) -> None:
        self.gateway.down = True

    def come_up(self) -> None:
        self.gateway.down = False


class EnvoyDoor:
    def __init__(self, world: World, model: Model) -> None:
        self.world = world
        self.gateway = world.gateway
        self.model = model

    def backend(self, cluster: str = "a-1", weight: int = 100, label: str = "1.0.0") -> Backend:
        return Backend(cluster, weight, label, (self.model.address,))

    def call(self, service_id: str = "a", key: str | None = KEY, status: int = 200) -> Answered:
        reply = self.world.call(f"/v1/infers/{service_id}?status={status}", key=key)
        return Answered(reply.status, reply.code, reply.version)

    def go_down(self) -> None:
        self.world.stop()

    def come_up(self) -> None:
        self.world.start()


@pytest.fixture(params=["fake", pytest.param("envoy", marks=pytest.mark.live)])
def door(request):
    if request.param == "fake":
        return FakeDoor()
    envoy = EnvoyDoor(request.getfixturevalue("world"), request.getfixturevalue("one"))
    envoy.gateway.publish([])
    return envoy


def test_both_are_gateways(door):
    gateway: Gateway = door.gateway
    assert callable(gateway.publish) and callable(gateway.statistics)


def test_a_published_service_answers_and_names_its_version(door):
    door.gateway.publish([route("a", door.backend(label="2.1.0"))])
    answered = door.call()
    assert (answered.status, answered.code, answered.version) == (200, None, "2.1.0")


@pytest.mark.parametrize("key", [None, OTHER_KEY, KEY + "x", KEY[:-1], ""])
def test_without_the_right_key_the_answer_is_401_and_tells_no_version(door, key):
    door.gateway.publish([route("a", door.backend())])
    answered = door.call(key=key)
    assert (answered.status, answered.code, answered.version) == (401, "APIG.0301", None)


def test_a_service_without_keys_lets_nobody_in(door):
    door.gateway.publish([Route("a", (), (door.backend(),)), route("b", door.backend())])
    for key in (None, "", KEY):
        assert door.call("a", key=key).status == 401


def test_the_key_of_one_service_does_not_open_another(door):
    door.gateway.publish([route("a", door.backend()), route("b", door.backend(), key=OTHER_KEY)])
    assert door.call("a", key=OTHER_KEY).status == 401
    assert door.call("b", key=OTHER_KEY).status == 200


def test_every_key_of_a_service_works_and_a_removed_one_stops_at_once(door):
    both = Route("a", (("first", KEY), ("second", OTHER_KEY), ("again", KEY)), (door.backend(),))
    door.gateway.publish([both])
    assert [door.call(key=key).status for key in (KEY, OTHER_KEY)] == [200, 200]
    door.gateway.publish([replace(both, keys=(("second", OTHER_KEY),))])
    assert [door.call(key=key).status for key in (KEY, OTHER_KEY)] == [401, 200]


def test_an_unknown_and_a_withdrawn_service_are_404(door):
    assert door.call("never").code == "ModelArts.4204"
    door.gateway.publish([route("a", door.backend())])
    door.gateway.publish([])
    answered = door.call("a")
    assert (answered.status, answered.code) == (404, "ModelArts.4204")


@pytest.mark.parametrize("backends", ["none", "no instance", "no weight"])
def test_a_service_that_cannot_answer_is_503_for_those_with_a_key(door, backends):
    given = {
        "none": (),
        "no instance": (replace(door.backend(), addresses=()),),
        "no weight": (door.backend(weight=0),),
    }[backends]
    door.gateway.publish([route("a", *given, unavailable="stopped")])
    assert (door.call().status, door.call().code) == (503, "ModelArts.4203")
    assert door.call(key=None).status == 401
    assert door.call(key=OTHER_KEY).status == 401


def test_a_version_without_instances_or_weight_gets_no_call(door):
    idle = replace(door.backend("a-2", weight=1000, label="2.0.0"), addresses=())
    unweighted = door.backend("a-3", weight=0, label="3.0.0")
    door.gateway.publish([route("a", door.backend(weight=1), idle, unweighted)])
    assert {door.call().version for _ in range(20)} == {"1.0.0"}


GOOD = Backend("a-1", 100, "1.0.0", ("/run/a.sock",))
INVALID = {
    "service id with a slash": [route("a/b", GOOD)],
    "service id that climbs": [route("..", GOOD)],
    "service id with a query": [route("a?b", GOOD)],
    "empty service id": [route("", GOOD)],
    "same service twice": [route("a", GOOD), route("a", GOOD)],
    "empty key": [route("a", GOOD, key="")],
    "key with a space": [route("a", GOOD, key="a b")],
    "key with a line break": [route("a", GOOD, key="a\r\nx: y")],
    "cluster name that climbs": [route("a", replace(GOOD, cluster="../../x"))],
    "cluster name with a slash": [route("a", replace(GOOD, cluster="a/b"))],
    "cluster twice in a service": [route("a", GOOD, GOOD)],
    "cluster described differently": [
        route("a", GOOD),
        route("b", replace(GOOD, addresses=("/run/b.sock",))),
    ],
    "negative weight": [route("a", replace(GOOD, weight=-1))],
    "label with a line break": [route("a", replace(GOOD, version_label="1\r\nx: y"))],
    "empty label": [route("a", replace(GOOD, version_label=""))],
    "relative socket": [route("a", replace(GOOD, addresses=("a.sock",)))],
    "socket path of 108 bytes": [route("a", replace(GOOD, addresses=("/" + "x" * 107,)))],
    "socket path of 108 bytes in Chinese": [route("a", replace(GOOD, addresses=("/xx" + "路" * 35,)))],
    "address twice": [route("a", replace(GOOD, addresses=("/run/a.sock", "/run/a.sock")))],
    "no time": [route("a", GOOD, timeout_seconds=0)],
    "no body": [route("a", GOOD, body_bytes=0)],
}


def test_routes_that_cannot_be_served_are_rejected_and_the_old_ones_stay(door):
    door.gateway.publish([route("a", door.backend())])
    for name, routes in INVALID.items():
        with pytest.raises(GatewayRejected) as rejected:
            door.gateway.publish(routes)
        assert rejected.value.detail.startswith("route "), name
        assert KEY not in rejected.value.detail
        assert door.call().status == 200, name


def test_a_callable_is_asked_for_the_routes_while_nobody_else_publishes(door):
    inside = threading.Lock()
    overlaps = []

    def routes():
        overlaps.append(not inside.acquire(blocking=False))
        inside.release()
        return [route("a", door.backend())]

    threads = [threading.Thread(target=door.gateway.publish, args=(routes,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert overlaps == [False] * 6
    assert door.call().status == 200


def test_the_last_of_many_publishers_wins_whole(door):
    """Each picture has two services; a mixture of two pictures would answer 404 for one and 200 for the
    other.
    """

    def picture(n: int) -> list[Route]:
        return [route(f"x{n}", door.backend(f"x-{n}")), route(f"y{n}", door.backend(f"y-{n}"))]

    threads = [threading.Thread(target=door.gateway.publish, args=(picture(n), 30.0)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    served = [(door.call(f"x{n}").status, door.call(f"y{n}").status) for n in range(6)]
    assert sorted(served) == [(200, 200)] + [(404, 404)] * 5


def test_equal_routes_may_be_published_again(door):
    for _ in range(3):
        door.gateway.publish([route("a", door.backend())])
    assert door.call().status == 200


def test_what_was_published_while_nobody_answered_is_served_afterwards(door):
    door.gateway.publish([route("a", door.backend())])
    door.go_down()
    with pytest.raises(GatewayUnreachable):
        door.gateway.publish([route("b", door.backend("b-1", label="3.0.0"))])
    with pytest.raises(GatewayUnreachable):
        door.gateway.statistics()
    door.come_up()
    assert (door.call("b").status, door.call("b").version) == (200, "3.0.0")
    assert door.call("a").status == 404
    door.gateway.publish([route("b", door.backend("b-1", label="3.0.0"))])


def test_calls_are_counted_per_service_and_per_version(door):
    def grown(now, before):
        return {name: now[name] - before.get(name, 0) for name in ("total", "failed", "2xx", "4xx", "5xx")}

    door.gateway.publish([route("counted", door.backend("counted-1")), route("idle", door.backend("idle-1"))])
    before = door.gateway.statistics()
    for status in (200, 200, 404, 500):
        assert door.call("counted", status=status).status == status
    door.call("counted", key=OTHER_KEY)
    now = door.gateway.statistics()
    expected = {"total": 4, "failed": 2, "2xx": 2, "4xx": 1, "5xx": 1}
    assert grown(now["services"]["counted"], before["services"]["counted"]) == expected
    assert grown(now["clusters"]["counted-1"], before["clusters"]["counted-1"]) == expected
    assert grown(now["gateway"], before["gateway"]) == expected | {"total": 5, "failed": 3, "4xx": 2}
    assert now["services"]["idle"]["total"] == 0
    assert set(now["clusters"]) == {"counted-1", "idle-1"}
