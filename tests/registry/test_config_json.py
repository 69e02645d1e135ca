"""config.json: every rule of facts §2.4-2.7 with what it accepts and what it refuses."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from console.problems import registered
from registry.engines import CATALOGUE, ENGINES
from registry.package import parse_config
from tests.registry.packages import FORM, make_api, make_config, make_dependencies, refusals
from tests.registry.samples import SAMPLES


@pytest.mark.facts(63)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_documented_samples_are_accepted(name: str) -> None:
    config = parse_config(json.dumps(SAMPLES[name]))
    assert config.model_type == SAMPLES[name]["model_type"]
    assert set(config.as_json()) == set(SAMPLES[name])


def test_what_is_given_back_is_plain_json_and_parses_again() -> None:
    given_back = parse_config(json.dumps(SAMPLES["a"])).as_json()
    assert given_back["apis"] == SAMPLES["a"]["apis"]
    assert given_back["dependencies"] == SAMPLES["a"]["dependencies"]
    assert given_back["metrics"] == {"f1": "0.91", "recall": "0.9", "precision": "0.92", "accuracy": "0.93"}
    assert json.loads(json.dumps(given_back)) == given_back


# --- keys ----------------------------------------------------------------------------------------------


@pytest.mark.facts(63)
@pytest.mark.parametrize(
    ("config", "reason", "path"),
    [
        (make_config(model_type=None), "key_missing", "/model_type"),
        (make_config(model_algorithm=None), "key_missing", "/model_algorithm"),
        (make_config(model_type=3), "type_wrong", "/model_type"),
        (make_config(model_type="xgboost"), "engine_unknown", "/model_type"),
        (make_config(model_type="Keras"), "engine_unknown", "/model_type"),
        (make_config(runtimes="python3.6"), "key_unknown", "/runtimes"),
        (make_config(**{"a/b~c": 1}), "key_unknown", "/a~1b~0c"),
        (make_config(runtime=3.6), "type_wrong", "/runtime"),
        (make_config(metrics=[]), "type_wrong", "/metrics"),
        (make_config(apis={}), "type_wrong", "/apis"),
        (make_config(dependencies={}), "type_wrong", "/dependencies"),
        (make_config(model_source="mine"), "value_illegal", "/model_source"),
        (make_config(tunable="yes"), "type_wrong", "/tunable"),
        ({**make_config(), "runtime": None}, "type_wrong", "/runtime"),
        ({**make_config(), "apis": None}, "type_wrong", "/apis"),
        (make_config(swr_location="registry/org/image:1"), "swr_location_on_model", "/swr_location"),
        (make_config(health={"url": "/health"}), "only_for_image", "/health"),
        (make_config(protocol="http"), "only_for_image", "/protocol"),
        (make_config(port=8080), "only_for_image", "/port"),
        (make_config("Image", runtime="python3.6"), "runtime_on_image", "/runtime"),
        (make_config("Image", swr_location="a b"), "swr_location_illegal", "/swr_location"),
        (make_config("Image", swr_location="-rm"), "swr_location_illegal", "/swr_location"),
        (
            make_config("Image", dependencies=make_dependencies({"package_name": "numpy"})),
            "dependencies_on_image",
            "/dependencies",
        ),
    ],
)
def test_a_key_that_breaks_a_rule_is_refused_at_its_place(
    config: dict[str, Any], reason: str, path: str
) -> None:
    assert refusals(config) == {reason: path}


def test_platform_written_keys_are_read_back() -> None:
    written = {"model_source": "custom", "tunable": False, "downloadable_flag": True, "algorithm": "x"}
    assert refusals(make_config(**written)) == {}


@pytest.mark.parametrize("value", ["a", "image_classification", "A" + "9" * 35, "a-b.c d", "x(y)"])
def test_an_algorithm_within_the_rule_is_accepted(value: str) -> None:
    assert refusals(make_config(model_algorithm=value)) == {}


@pytest.mark.parametrize(
    "value", ["", "1a", "_a", "图像", "a图", "A" * 37, "a\n", "é", *(f"a{c}" for c in "&!'\"<>=")]
)
def test_an_algorithm_outside_the_rule_is_refused(value: str) -> None:
    assert refusals(make_config(model_algorithm=value)) == {"model_algorithm_illegal": "/model_algorithm"}


@pytest.mark.facts(61)
@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "Image"])
def test_every_documented_runtime_name_is_accepted_for_its_engine_only(name: str) -> None:
    for runtime in CATALOGUE[name].runtime_names:
        assert refusals(make_config(name, runtime=runtime)) == {}
    assert refusals(make_config(name, runtime="python9.9")) == {"runtime_unknown": "/runtime"}


def test_a_runtime_of_another_engine_is_refused() -> None:
    for runtime in ("tf2.1-python3.7", ENGINES["ONNX"].default.name):
        assert refusals(make_config("XGBoost", runtime=runtime)) == {"runtime_unknown": "/runtime"}


# --- metrics -------------------------------------------------------------------------------------------


@pytest.mark.facts(68)
def test_metrics_keep_seventeen_decimals_and_cut_the_rest() -> None:
    text = (
        '{"model_type": "XGBoost", "model_algorithm": "a", "metrics":'
        ' {"f1": 0.12345678901234567899, "recall": 1, "precision": 1e-5, "accuracy": 0.10}}'
    )
    metrics = parse_config(text).metrics
    assert metrics is not None
    assert metrics.f1 == Decimal("0.12345678901234567")
    assert metrics.as_text() == {
        "f1": "0.12345678901234567", "recall": "1", "precision": "0.00001", "accuracy": "0.1",
    }  # fmt: skip


@pytest.mark.parametrize("number", ["1e-400", "1e-999999999999999999999999", "0e99", "-0.0"])
def test_metrics_next_to_nothing_are_nothing(number: str) -> None:
    text = f'{{"model_type": "XGBoost", "model_algorithm": "a", "metrics": {{"f1": {number}}}}}'
    metrics = parse_config(text).metrics
    assert metrics is not None
    assert Decimal(metrics.as_text()["f1"]) == 0
    assert len(metrics.as_text()["f1"]) < 5


@pytest.mark.parametrize("value", ['"0.9"', "true", "null", "[]", "1e17", "1e400", "1e99999999999999999999"])
def test_a_metric_that_is_no_sensible_number_is_refused(value: str) -> None:
    text = f'{{"model_type": "XGBoost", "model_algorithm": "a", "metrics": {{"recall": {value}}}}}'
    found = refusals(text)
    assert found.get("metric_illegal", found.get("type_wrong")) == "/metrics/recall"


def test_an_unknown_metric_is_refused() -> None:
    assert refusals(make_config(metrics={"auc": 0.9})) == {"key_unknown": "/metrics/auc"}


# --- apis ----------------------------------------------------------------------------------------------


@pytest.mark.facts(64)
def test_a_model_has_exactly_one_api_at_the_root() -> None:
    assert refusals(make_config(apis=[make_api()])) == {}
    assert refusals(make_config(apis=[{}])) == {}
    assert refusals(make_config(apis=[])) == {"api_count": "/apis"}
    assert refusals(make_config(apis=[make_api(), make_api()])) == {"api_count": "/apis"}
    assert refusals(make_config(apis=[make_api(url="/predict")])) == {"api_url_not_root": "/apis/0/url"}


def test_an_image_may_have_any_number_of_different_apis() -> None:
    apis = [make_api(), make_api(url="/greet"), make_api(url="/v1/{name}/x", method="get")]
    assert refusals(make_config("Image", apis=apis)) == {}
    assert refusals(make_config("Image", apis=[])) == {}
    twice = [make_api(url="/a"), make_api(url="/a", method="POST")]
    assert refusals(make_config("Image", apis=twice)) == {"api_duplicate": "/apis/1"}


@pytest.mark.parametrize(
    "url", ["", "greet", "/a b", "/a?x=1", "/a#b", "/../etc", "/a/./b", "/%2e%2E/x", "//x", "/\n", "/a//b"]
)
def test_a_url_that_is_no_plain_path_is_refused(url: str) -> None:
    assert refusals(make_config("Image", apis=[make_api(url=url)])) == {"url_illegal": "/apis/0/url"}


@pytest.mark.parametrize(
    ("change", "reason", "path"),
    [
        ({"method": "put"}, "value_illegal", "/apis/0/method"),
        ({"method": None}, "type_wrong", "/apis/0/method"),
        ({"protocol": "grpc"}, "value_illegal", "/apis/0/protocol"),
        ({"inputs": {}}, "key_unknown", "/apis/0/inputs"),
        ({"request": "json"}, "type_wrong", "/apis/0/request"),
        ({"request": {"content-type": "application/json"}}, "key_unknown", "/apis/0/request/content-type"),
        ({"request": {"Content-type": "text/plain"}}, "value_illegal", "/apis/0/request/Content-type"),
        ({"response": {"data": []}}, "type_wrong", "/apis/0/response/data"),
    ],
)
def test_an_api_that_breaks_a_rule_is_refused_at_its_place(
    change: dict[str, Any], reason: str, path: str
) -> None:
    assert refusals(make_config(apis=[make_api(**change)])) == {reason: path}


@pytest.mark.parametrize("method", ["get", "post", "GET", "Post"])
def test_methods_are_read_in_any_case(method: str) -> None:
    config = parse_config(json.dumps(make_config(apis=[make_api(method=method)])))
    assert config.apis is not None
    assert config.apis[0].method == method.lower()


@pytest.mark.facts(65)
@pytest.mark.parametrize("model_type", CATALOGUE)
def test_classic_engines_take_only_json(model_type: str) -> None:
    form = {"Content-type": "multipart/form-data", "data": FORM}
    found = refusals(make_config(model_type, apis=[make_api(request=form)]))
    if model_type in ("XGBoost", "Scikit_Learn", "Spark_MLlib"):
        assert found == {"content_type_not_json": "/apis/0/request/Content-type"}
    else:
        assert found == {}


# --- dependencies --------------------------------------------------------------------------------------


@pytest.mark.facts(67)
@pytest.mark.parametrize(
    "package",
    [
        {"package_name": "numpy"},
        {"package_name": "numpy", "package_version": "", "restraint": ""},
        {"package_name": "numpy", "package_version": "1.16.4", "restraint": "EXACT"},
        {"package_name": "numpy", "package_version": "1.16.*", "restraint": "EXACT"},
        {"package_name": "numpy", "package_version": "2.0rc1", "restraint": "ATLEAST"},
        {"package_name": "Pillow", "package_version": "12", "restraint": "ATMOST"},
        {"package_name": "ruamel.yaml[jinja2]"},
        {"package_name": "tool-1.0-py3-none-any.whl"},
    ],
)
def test_a_package_within_the_rules_is_accepted(package: dict[str, str]) -> None:
    assert refusals(make_config(dependencies=make_dependencies(package))) == {}


@pytest.mark.facts(67)
@pytest.mark.parametrize(
    ("package", "reason", "key"),
    [
        ({}, "key_missing", "package_name"),
        ({"package_name": ""}, "package_name_illegal", "package_name"),
        ({"package_name": "numpy==1.0"}, "package_name_illegal", "package_name"),
        ({"package_name": "numpy\n"}, "package_name_illegal", "package_name"),
        ({"package_name": "数据"}, "package_name_illegal", "package_name"),
        ({"package_name": "a & b"}, "package_name_illegal", "package_name"),
        ({"package_name": "-rother.txt"}, "package_name_illegal", "package_name"),
        ({"package_name": "--index-url"}, "package_name_illegal", "package_name"),
        ({"package_name": "../up.whl"}, "package_name_illegal", "package_name"),
        ({"package_name": "not-a-wheel.whl"}, "package_name_illegal", "package_name"),
        ({"package_name": "x @ file:///etc/passwd"}, "package_name_illegal", "package_name"),
        ({"package_name": "https://host/x"}, "package_name_illegal", "package_name"),
        ({"package_name": "x", "package_version": "1"}, "restraint_missing", "restraint"),
        ({"package_name": "x", "package_version": "1", "restraint": ""}, "restraint_missing", "restraint"),
        ({"package_name": "x", "restraint": "EXACT"}, "restraint_without_version", "restraint"),
        ({"package_name": "x", "package_version": "1", "restraint": "=="}, "value_illegal", "restraint"),
        ({"package_name": "x", "package_version": "1", "restraint": "exact"}, "value_illegal", "restraint"),
        ({"package_name": "x", "package_version": 1, "restraint": "EXACT"}, "type_wrong", "package_version"),
        ({"package_name": "x", "version": "1"}, "key_unknown", "version"),
    ],
)
def test_a_package_that_breaks_a_rule_is_refused_at_its_place(
    package: dict[str, Any], reason: str, key: str
) -> None:
    found = refusals(make_config(dependencies=make_dependencies(package)))
    assert found == {reason: f"/dependencies/0/packages/0/{key}"}


@pytest.mark.facts(67)
@pytest.mark.parametrize("version", ["1 ; y", "1,<2", "=1", "一", "new", "1\n", "1 --hash", "1'", "１.0"])
@pytest.mark.parametrize("restraint", ["EXACT", "ATLEAST", "ATMOST"])
def test_a_version_that_pip_cannot_compare_is_refused(version: str, restraint: str) -> None:
    package = {"package_name": "x", "package_version": version, "restraint": restraint}
    found = refusals(make_config(dependencies=make_dependencies(package)))
    assert found == {"package_version_illegal": "/dependencies/0/packages/0/package_version"}


def test_only_an_exact_version_may_hold_a_wildcard() -> None:
    package = {"package_name": "x", "package_version": "1.*", "restraint": "ATLEAST"}
    assert "package_version_illegal" in refusals(make_config(dependencies=make_dependencies(package)))


@pytest.mark.parametrize("installer", ["conda", "yum", "apt-get", "PIP", ""])
def test_only_pip_installs(installer: str) -> None:
    found = refusals(make_config(dependencies=make_dependencies({"package_name": "x"}, installer=installer)))
    assert found == {"installer_not_offered": "/dependencies/0/installer"}


# --- health of images ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "health",
    [
        {"url": "/health"},
        {"url": "/health", "protocol": "http", "initial_delay_seconds": "10", "timeout_seconds": "3"},
        {"url": "/h", "check_method": "HTTP", "period_seconds": 5, "failure_threshold": 12},
        {"check_method": "EXEC", "command": "cat /tmp/healthy"},
    ],
)
def test_a_health_check_within_the_rules_is_accepted(health: dict[str, Any]) -> None:
    assert refusals(make_config("Image", health=health)) == {}


@pytest.mark.parametrize(
    ("health", "reason", "key"),
    [
        ({}, "key_missing", "url"),
        ({"check_method": "EXEC", "url": "/h"}, "key_missing", "command"),
        ({"url": "health"}, "url_illegal", "url"),
        ({"url": "/h", "protocol": "https"}, "value_illegal", "protocol"),
        ({"url": "/h", "timeout_seconds": "soon"}, "health_seconds_illegal", "timeout_seconds"),
        ({"url": "/h", "timeout_seconds": "٣"}, "health_seconds_illegal", "timeout_seconds"),
        ({"url": "/h", "timeout_seconds": "0"}, "health_seconds_illegal", "timeout_seconds"),
        ({"url": "/h", "period_seconds": 2**31}, "health_seconds_illegal", "period_seconds"),
        ({"url": "/h", "failure_threshold": True}, "health_seconds_illegal", "failure_threshold"),
    ],
)
def test_a_health_check_that_breaks_a_rule_is_refused(health: dict[str, Any], reason: str, key: str) -> None:
    assert refusals(make_config("Image", health=health)) == {reason: f"/health/{key}"}


def test_documented_codes_tell_unsupported_from_invalid() -> None:
    assert registered()["registry.package.key_unknown"].documented == "ModelArts.3016"
    assert registered()["registry.package.type_wrong"].documented == "ModelArts.3016"
    assert registered()["registry.package.key_missing"].documented == "ModelArts.3015"
    assert registered()["registry.package.subpath_missing"].documented == "ModelArts.3017"
