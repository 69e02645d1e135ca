"""The pure part: what is rendered from routes, without an Envoy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.gateway import envoy_config
from deployments.gateway.base import Backend, Route, check
from deployments.gateway.envoy import command, render_bootstrap, write_bootstrap
from tests.deployments.gateway.harness import mode_of, route

CONFIG = Path("/var/envoy/config")
ONE = Backend("a-1", 90, "1.0.0", ("/run/1.sock", "/run/2.sock"))
TWO = Backend("a-2", 10, "2.0.0", ("/run/3.sock",))


def table(*routes: Route) -> list[dict]:
    return envoy_config.route_configuration(routes)[0]["virtual_hosts"][0]["routes"]


def test_the_fixed_answers_come_after_every_service():
    matches = [entry["match"] for entry in table(route("b", ONE), route("a", TWO))]
    assert matches[:2] == [
        {"path_separated_prefix": "/v1/infers/a"},
        {"path_separated_prefix": "/v1/infers/b"},
    ]
    assert matches[2:] == [
        {"path": "/v1/infers"},
        {"path": "/v1/infers/"},
        {"prefix": "/v1/infers/"},
        {"prefix": "/"},
    ]


def test_every_service_asks_for_a_key_and_only_fixed_answers_do_not():
    entries = table(route("a", ONE), Route("keyless", (), (ONE,)), route("stopped", unavailable="stopped"))
    for entry in entries:
        filter_config = entry["typed_per_filter_config"][envoy_config.KEY_FILTER]
        is_service = "path_separated_prefix" in entry["match"]
        assert filter_config["@type"].endswith("ApiKeyAuthPerRoute") == is_service
        assert ("direct_response" in entry) == (
            not is_service or entry["match"]["path_separated_prefix"].endswith("stopped")
        )


def test_no_key_header_is_passed_on():
    removed = table(route("a", ONE))[0]["request_headers_to_remove"]
    assert {"x-apig-appcode", "x-auth-token", "authorization"} <= set(removed)


def test_shares_go_to_versions_that_have_instances():
    action = table(route("a", ONE, TWO, replace(TWO, cluster="a-3", addresses=())))[0]["route"]
    assert action["weighted_clusters"]["clusters"] == [
        {"name": "a-1", "weight": 90},
        {"name": "a-2", "weight": 10},
    ]


def test_only_what_never_reached_a_model_is_sent_again():
    policy = table(route("a", ONE))[0]["route"]["retry_policy"]
    assert (policy["retry_on"], policy["num_retries"]) == ("connect-failure,refused-stream", 1)


def test_the_reason_of_a_service_that_is_not_running_is_in_the_answer():
    body = json.loads(table(route("a", unavailable="stopped"))[0]["direct_response"]["body"]["inline_string"])
    assert body == {
        "error_code": "ModelArts.4203",
        "error_msg": "The service is stopped. Start it to call it.",
        "reason": "stopped",
    }
    unknown = json.loads(table(route("a", unavailable="??"))[0]["direct_response"]["body"]["inline_string"])
    assert unknown["error_msg"] == "The service is not running."


def test_a_cluster_holds_the_sockets_and_the_label_of_its_instances():
    [first, second] = envoy_config.clusters([TWO, ONE])
    assert [first["name"], second["name"]] == ["a-1", "a-2"]
    instances = first["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [i["endpoint"]["address"]["pipe"]["path"] for i in instances] == ["/run/1.sock", "/run/2.sock"]
    assert {i["metadata"]["filter_metadata"]["slipway"]["version"] for i in instances} == {"1.0.0"}


def test_order_does_not_matter_and_content_does():
    def content(*routes):
        return envoy_config.pack(envoy_config.route_configuration(check(routes)))

    a, b = route("a", ONE), route("b", TWO)
    assert content(a, b) == content(b, a)
    versions = {
        envoy_config.version_of(content(r))
        for r in (a, replace(a, timeout_seconds=61), replace(a, keys=()), replace(a, body_bytes=5), b)
    }
    assert len(versions) == 5


def test_half_a_file_has_no_version():
    whole = envoy_config.pack(envoy_config.clusters([ONE]))
    assert envoy_config.version_of(whole)
    assert list(envoy_config.clusters_in(whole)) == ["a-1"]
    for damaged in (b"", whole[: len(whole) // 2], b"[]", b"{}", b'{"version_info": "1"}', b"\xff"):
        assert envoy_config.version_of(damaged) is None
        assert envoy_config.clusters_in(damaged) == {}


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
backends = st.builds(
    Backend,
    names,
    st.integers(0, 100),
    st.from_regex(r"[\x20-\x7e]{1,20}", fullmatch=True),
    st.lists(names.map(lambda n: f"/run/{n}.sock"), unique=True, max_size=3).map(tuple),
)
routes = st.builds(
    Route,
    names,
    st.lists(st.tuples(st.text(max_size=5), st.from_regex(r"[\x21-\x7e]{1,20}", fullmatch=True))).map(tuple),
    st.lists(backends, max_size=3, unique_by=lambda b: b.cluster).map(tuple),
    st.none() | st.text(max_size=10),
)


@settings(deadline=None, max_examples=50)
@given(routes)
def test_whatever_passes_the_check_renders_and_routes_only_to_clusters_with_instances(given_route):
    [checked] = check([given_route])
    action = table(checked)[0].get("route", {})
    shares = action.get("weighted_clusters", {}).get("clusters", [])
    named = {share["name"] for share in shares} | ({action["cluster"]} if "cluster" in action else set())
    clusters = envoy_config.clusters(envoy_config.backends([checked]).values())
    assert named == {cluster["name"] for cluster in clusters}
    assert all(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] for cluster in clusters)
    assert json.loads(envoy_config.pack(envoy_config.route_configuration([checked])))["resources"]


def test_the_bootstrap_listens_where_it_is_told_and_guards_its_admin():
    bootstrap = render_bootstrap("127.0.0.1", 8080, CONFIG, Path("/run/admin.sock"))
    assert bootstrap["admin"]["address"]["pipe"] == {"path": "/run/admin.sock", "mode": 0o600}
    [listener] = bootstrap["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert "access_log" not in manager
    assert manager["http_filters"][-1]["typed_config"]["suppress_envoy_headers"]


def test_writing_the_bootstrap_keeps_what_was_published_and_repairs_what_is_damaged(tmp_path):
    def write():
        write_bootstrap(
            tmp_path / "envoy" / "bootstrap.yaml",
            host="127.0.0.1",
            port=8080,
            config_dir=tmp_path / "envoy" / "config",
            admin_socket=tmp_path / "admin.sock",
        )

    write()
    config = tmp_path / "envoy" / "config"
    published = envoy_config.pack(envoy_config.clusters([ONE]))
    (config / "clusters.json").write_bytes(published)
    (config / "routes.json").write_bytes(b'{"half')
    write()
    assert (config / "clusters.json").read_bytes() == published
    assert envoy_config.version_of((config / "routes.json").read_bytes())
    for folder in (tmp_path / "envoy", config):
        assert mode_of(folder) == "0o700"
    for file in (tmp_path / "envoy" / "bootstrap.yaml", config / "routes.json"):
        assert mode_of(file) == "0o600"


def test_the_command_is_an_argument_list_without_a_shell():
    line = command(Path("/a b/套/bootstrap.yaml"), "/opt/envoy")
    assert line[:3] == ["/opt/envoy", "-c", "/a b/套/bootstrap.yaml"]
    assert "--disable-hot-restart" in line


def test_the_package_needs_neither_django_nor_the_rest_of_the_console():
    script = """
import sys
import deployments.gateway.envoy
foreign = {name.partition(".")[0] for name in sys.modules} & {"django", "console", "registry", "celery"}
inside = {name for name in sys.modules if name.startswith("deployments.")}
assert not foreign, foreign
assert all(name.startswith("deployments.gateway") for name in inside), inside
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_newest_of_two_equal_keys_does_not_double_it():
    twice = Route("a", (("first", "k"), ("second", "k"), ("third", "other")), (ONE,))
    credentials = table(twice)[0]["typed_per_filter_config"][envoy_config.KEY_FILTER]["credentials"]
    assert [(c["client"], c["key"]) for c in credentials] == [("first", "k"), ("third", "other")]
