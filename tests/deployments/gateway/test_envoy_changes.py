"""Changes under load, refusals, deaths and restarts, at a real Envoy. Callers never retry."""

from __future__ import annotations

import itertools
import stat
import subprocess
import threading
import time

import pytest

from deployments.gateway import envoy, envoy_config
from deployments.gateway.base import Backend, GatewayRejected, GatewayUnreachable, Route
from tests.deployments.gateway.harness import KEY, Caller, Load, Model, mode_of, route, wait_for

pytestmark = pytest.mark.live


LONG = {"endpoint": {"address": {"pipe": {"path": "/" + "x" * 200}}}}


def backend(cluster: str, *models: Model, weight: int = 100, label: str = "1.0.0") -> Backend:
    return Backend(cluster, weight, label, tuple(model.address for model in models))


def test_dozens_of_changes_under_load_lose_no_call(world, one, two):
    """Weights, versions, instances, other services, time limits: every call is answered with 200."""
    pictures = [
        [route("a", backend("a-1", one))],
        [route("a", backend("a-1", one), backend("a-2", two, weight=50))],
        [route("a", backend("a-1", one, weight=10), backend("a-2", two, weight=90))],
        [route("a", backend("a-2", two))],
        [route("a", backend("a-2", two, one))],
        [route("a", backend("a-2", one)), route("b", backend("b-1", two))],
        [route("a", backend("a-3", one), timeout_seconds=9), route("stopped", unavailable="stopped")],
        [route("a", backend("a-3", one, two), body_bytes=5000)],
    ]
    world.gateway.publish(pictures[0])
    with Load(world.port) as load:
        for number, picture in enumerate(itertools.islice(itertools.cycle(pictures), 80)):
            world.gateway.publish(picture, timeout=20)
            if number % 8 == 0:
                calls = load.calls
                wait_for(lambda calls=calls: load.calls > calls + 20, what="calls going on")
    assert not load.problems
    assert load.calls > 500
    assert set(load.answers) == {"one", "two"}


def test_keys_change_under_load_without_a_wrong_answer(world, one):
    """The new key is there before callers use it, the old one goes after: no call fails."""
    keys = [f"key-number-{n}" for n in range(30)]
    current = [keys[0]]

    def publish(*valid):
        world.gateway.publish([Route("a", tuple((k, k) for k in valid), (backend("a-1", one),))], timeout=20)

    publish(keys[0])
    with Load(world.port, key=lambda: current[0]) as load:
        for old, new in itertools.pairwise(keys):
            publish(old, new)
            current[0] = new
            calls = load.calls
            wait_for(lambda calls=calls: load.calls > calls + 8, what="calls going on")
            publish(new)
    assert not load.problems
    assert world.call(key=keys[0]).status == 401


def test_a_replaced_instance_may_stop_as_soon_as_publish_returns(world, one):
    """New instance up, published, old one told to stop: the way every update goes. No call is lost."""
    world.gateway.publish([route("a", backend("a-1", one))])
    current = one
    with Load(world.port) as load:
        for number in range(6):
            successor = world.model(f"next-{number}")
            world.gateway.publish([route("a", backend("a-1", successor))], timeout=20)
            if current is not one:
                current.stop()
            current = successor
    assert not load.problems
    assert len(load.answers) >= 6


@pytest.mark.parametrize("what", ["instance", "version", "service"])
def test_a_call_in_flight_survives_that_its_target_is_withdrawn(world, one, two, what):
    world.gateway.publish([route("a", backend("a-1", one))])
    replies = []
    thread = threading.Thread(target=lambda: replies.append(world.call("/v1/infers/a?sleep=1.5")))
    thread.start()
    wait_for(lambda: world.gateway.statistics()["clusters"]["a-1"]["active"] == 1, what="the call in flight")
    world.gateway.publish(
        {
            "instance": [route("a", backend("a-1", two))],
            "version": [route("a", backend("a-2", two))],
            "service": [],
        }[what]
    )
    assert not replies, "the change was applied while the call was in flight"
    thread.join(10)
    assert [(reply.status, reply.json["name"]) for reply in replies] == [(200, "one")]


@pytest.mark.parametrize("way", ["killed", "socket removed"])
def test_when_an_instance_dies_calls_go_to_the_other_and_at_most_those_in_flight_are_lost(fresh_world, way):
    fresh_world.start()
    stays, dies = fresh_world.model("stays"), fresh_world.model("dies")
    fresh_world.gateway.publish([route("a", backend("a-1", stays, dies))])
    connections = 4
    with Load(fresh_world.port, connections) as load:
        wait_for(lambda: len(load.answers) == 2, what="both instances answering")
        dies.kill()
        if way == "socket removed":
            (fresh_world.run / "dies.sock").unlink()
        calls = load.calls
        wait_for(lambda: load.calls > calls + 300, what="calls going on")
        if way == "killed":  # back at the same place: it gets calls again
            (fresh_world.run / "dies.sock").unlink(missing_ok=True)
            fresh_world.model("dies")
            answers = load.answers["dies"]
            wait_for(lambda: load.answers["dies"] > answers + 20, 30, what="the instance taking part again")
    # A process does not die in one moment: while its connections close one by one, a call that failed on the
    # first can be followed by one on the next. After that, none.
    assert load.problems.total() <= 2 * connections
    assert all(problem.startswith("503") and "ModelArts.4302" in problem for problem in load.problems)


def test_a_small_call_never_notices_an_instance_that_is_gone_and_large_ones_avoid_it_afterwards(fresh_world):
    """Bodies over 64 KiB are not kept for a second try; after the first failure nobody is sent there."""
    fresh_world.start()
    stays = fresh_world.model("stays")
    gone = Backend("a-1", 100, "1.0.0", (stays.address, str(fresh_world.run / "gone.sock")))
    fresh_world.gateway.publish([route("a", gone)])
    assert {fresh_world.call(body=b"x" * 60_000).status for _ in range(20)} == {200}
    begun = time.monotonic()
    large = [fresh_world.call(body=b"x" * 2_000_000).status for _ in range(20)]
    # It is tried again after 5 s, then 10 s, …: that call may find it still gone.
    assert large.count(200) >= len(large) - int((time.monotonic() - begun) / 5 + 1)
    counted = fresh_world.gateway.statistics()["clusters"]["a-1"]
    assert counted["total"] == 40 and counted["connect_failures"] >= 1


def test_what_envoy_refuses_comes_back_in_its_words_and_the_old_routes_serve_on(world, one, monkeypatch):
    good = [route("a", backend("a-1", one))]
    world.gateway.publish(good)
    files = {file: file.read_bytes() for file in world.config_dir.rglob("*.json")}
    rendered = envoy_config._route
    broken = {"match": {"path_separated_prefix": "/not/like/this/"}}
    monkeypatch.setattr(envoy_config, "_route", lambda route: rendered(route) | broken)
    with pytest.raises(GatewayRejected) as refused:
        world.gateway.publish([*good, route("b", backend("b-1", one))])
    assert "PathSeparatedPrefix" in refused.value.detail
    assert KEY not in refused.value.detail
    assert len(refused.value.detail) < 2001
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in world.config_dir.rglob("*.json")} == files
    assert world.call().status == 200
    world.gateway.publish([*good, route("b", backend("b-1", one))])
    assert world.call("/v1/infers/b").status == 200


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"lb_policy": "RING_OF_FIRE"}, "RING_OF_FIRE"),
        ({"connect_timeout": "0s"}, "ConnectTimeout"),
        (
            {"load_assignment": {"cluster_name": "x", "endpoints": [{"lb_endpoints": [LONG]}]}},
            "maximum UNIX domain",
        ),
    ],
)
def test_refused_clusters_are_told_and_taken_back(fresh_world, broken, expected, monkeypatch):
    fresh_world.start()
    model = fresh_world.model("m")
    good = [route("a", backend("a-1", model))]
    fresh_world.gateway.publish(good)
    files = {file: file.read_bytes() for file in fresh_world.config_dir.rglob("*.json")}
    rendered = envoy_config._cluster
    monkeypatch.setattr(
        envoy_config, "_cluster", lambda b: rendered(b) | (broken if b.cluster == "b-1" else {})
    )
    with pytest.raises(GatewayRejected) as refused:
        fresh_world.gateway.publish([*good, route("b", backend("b-1", model))])
    assert expected in refused.value.detail
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in fresh_world.config_dir.rglob("*.json")} == files
    assert fresh_world.call().status == 200
    fresh_world.gateway.publish([*good, route("b", backend("b-1", model))])
    assert fresh_world.call("/v1/infers/b").status == 200


def test_no_key_gets_into_envoys_log_or_admin_pages(fresh_world, monkeypatch):
    fresh_world.start()
    model = fresh_world.model("m")
    fresh_world.gateway.publish([route("a", backend("a-1", model))])
    rendered = envoy_config._route
    broken = {"match": {"path_separated_prefix": "/not/like/this/"}}
    monkeypatch.setattr(envoy_config, "_route", lambda route: rendered(route) | broken)
    with pytest.raises(GatewayRejected):
        fresh_world.gateway.publish([route("b", backend("a-1", model))])
    assert KEY not in fresh_world.log.read_text()
    assert KEY not in fresh_world.gateway.admin._get("/config_dump", 5).decode()


def test_published_before_the_first_start_is_served_after_it(fresh_world):
    model = fresh_world.model("m")
    with pytest.raises(GatewayUnreachable):
        fresh_world.gateway.publish([route("a", backend("a-1", model))])
    fresh_world.start()
    assert fresh_world.call().status == 200


def test_a_restarted_envoy_serves_what_was_published_last(fresh_world):
    fresh_world.start()
    model = fresh_world.model("m")
    fresh_world.gateway.publish([route("gone", backend("gone-1", model))])
    routes = [route("a", backend("a-1", model)), route("s", unavailable="stopped")]
    fresh_world.gateway.publish(routes)
    for _ in range(3):
        fresh_world.stop()  # SIGKILL
        fresh_world.start()
        assert fresh_world.call().status == 200
        assert fresh_world.call("/v1/infers/s").status == 503
        assert fresh_world.call("/v1/infers/gone").status == 404
    fresh_world.gateway.publish(routes)


def test_files_of_another_release_that_envoy_refuses_do_not_stand_in_the_way(fresh_world):
    model = fresh_world.model("m")
    fresh_world.prepare()
    strange = {
        "@type": envoy_config.TYPE + "envoy.config.cluster.v3.Cluster",
        "name": "old",
        "gone_setting": 1,
    }
    (fresh_world.config_dir / "clusters.json").write_bytes(envoy_config.pack([strange]))
    (fresh_world.config_dir / "routes.json").write_bytes(envoy_config.pack([{"@type": "what?"}]))
    fresh_world.start()
    assert fresh_world.call().status == 401, "without routes nobody gets in"
    fresh_world.gateway.publish([route("a", backend("a-1", model))])
    assert fresh_world.call().status == 200


def test_an_envoy_that_hangs_is_unreachable_in_time_and_follows_when_it_goes_on(fresh_world):
    fresh_world.start()
    model = fresh_world.model("m")
    fresh_world.process.send_signal(subprocess.signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(GatewayUnreachable):
        fresh_world.gateway.publish([route("a", backend("a-1", model))], timeout=1)
    assert time.monotonic() - begun < 4
    fresh_world.process.send_signal(subprocess.signal.SIGCONT)
    wait_for(lambda: fresh_world.call().status == 200, what="the routes applied")
    fresh_world.gateway.publish([route("a", backend("a-1", model))])


def test_equal_routes_write_nothing(world, one):
    routes = [route("a", backend("a-1", one)), route("b", backend("b-1", one))]
    world.gateway.publish(routes)
    before = {file: file.stat().st_ino for file in world.config_dir.rglob("*.json")}
    world.gateway.publish(list(reversed(routes)))
    assert {file: file.stat().st_ino for file in world.config_dir.rglob("*.json")} == before


def test_clusters_that_no_route_names_are_removed(world, one):
    world.gateway.publish([route("a", backend("a-1", one), backend("a-2", one))])
    world.gateway.publish([route("a", backend("a-2", one))])
    assert set(world.gateway.statistics()["clusters"]) == {"a-2"}


def test_counters_go_on_counting_when_instances_change(world, one, two):
    world.gateway.publish([route("count", backend("count-1", one))])
    assert world.call("/v1/infers/count").status == 200
    world.gateway.publish([route("count", backend("count-1", one, two))])
    assert world.call("/v1/infers/count").status == 200
    counted = world.gateway.statistics()
    assert (counted["clusters"]["count-1"]["total"], counted["services"]["count"]["total"]) == (2, 2)


def test_published_files_are_private(world, one):
    world.gateway.publish([route("a", backend("a-1", one))])
    for path in [world.folder / "envoy", *(world.folder / "envoy").rglob("*")]:
        assert mode_of(path) == ("0o700" if path.is_dir() else "0o600"), path
    assert stat.S_ISSOCK(world.admin_socket.stat().st_mode)
    assert mode_of(world.admin_socket) == "0o600"


def test_publishers_in_many_processes_take_turns(world, one):
    script = """
import sys
from pathlib import Path
from deployments.gateway.envoy import EnvoyGateway
from deployments.gateway.base import Backend, Route
config, admin, address, number = sys.argv[1:]
for turn in range(5):
    name = f"p{number}-{turn}"
    routes = [Route(name, (("k", "key"),), (Backend(name, 1, "1", (address,)),))]
    EnvoyGateway(Path(config), Path(admin)).publish(routes, 20)
"""
    import sys

    line = [sys.executable, "-c", script, str(world.config_dir), str(world.admin_socket), one.address]
    publishers = [subprocess.Popen([*line, str(number)]) for number in range(4)]
    assert [publisher.wait(60) for publisher in publishers] == [0] * 4
    clusters = list(envoy_config.clusters_in((world.config_dir / "clusters.json").read_bytes()))
    assert len(clusters) == 1
    assert world.call(f"/v1/infers/{clusters[0]}", key="key").status == 200


def test_a_publisher_killed_in_the_middle_blocks_nobody(world, one):
    import fcntl
    import os

    world.gateway.publish([])
    child = os.fork()
    if child == 0:
        lock = os.open(world.config_dir / ".lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    (world.config_dir / ".routes.json.tmp").write_bytes(b"{half")
    world.gateway.publish([route("a", backend("a-1", one))])
    assert world.call().status == 200


def test_a_taken_port_ends_envoy_with_a_line_that_names_it(fresh_world, world):
    fresh_world.port = world.port
    fresh_world.prepare()
    line = envoy.command(fresh_world.bootstrap_file, envoy.find_envoy())
    done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "Address already in use" in done.stderr
    assert str(world.port) in done.stderr


def test_many_services_are_published_and_served(world, one):
    routes = [route(f"many-{n}", backend(f"many-{n}", one)) for n in range(150)]
    world.gateway.publish(routes, timeout=30)
    caller = Caller(world.port)
    assert {caller.call(f"/v1/infers/many-{n}").status for n in range(150)} == {200}
    caller.close()
    begun = time.monotonic()
    world.gateway.publish(routes[1:], timeout=30)
    assert time.monotonic() - begun < 3
    world.gateway.publish([])
