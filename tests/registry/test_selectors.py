"""What the pages list: grouped, ordered, in few queries, and only what the reader may see."""

from __future__ import annotations

from typing import Any

import pytest

from console import history
from console.models import Workspace
from registry import selectors
from registry.models import Model
from tests.factories import make_model, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def stock(workspace: Workspace, owner: Any) -> Model:
    """Three models; `digits` has three versions, imported out of order."""
    digits = make_model(workspace, owner, "digits")
    for number in ("0.0.9", "0.0.10", "0.0.2"):
        make_version(workspace, owner, model=digits, number=number)
    make_version(workspace, owner, model=make_model(workspace, owner, "Iris"), status="failed")
    make_version(workspace, owner, model=make_model(workspace, owner, "wine"), deployment_types=["batch"])
    make_model(workspace, owner, "empty")
    return digits


def test_models_stand_with_their_versions_newest_number_first(
    stock: Model, workspace: Workspace, viewer: Any
) -> None:
    rows = {model.name: model for model in selectors.model_list(viewer, workspace)}
    assert set(rows) == {"digits", "Iris", "wine"}, "a name without versions is not listed"
    assert [version.number for version in rows["digits"].versions.all()] == ["0.0.10", "0.0.9", "0.0.2"]
    assert rows["digits"].version_count == 3


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", ["digits", "Iris", "wine"]),
        ("-name", ["wine", "Iris", "digits"]),
        ("created", ["digits", "Iris", "wine"]),
        ("-created", ["wine", "Iris", "digits"]),
        ("nonsense; drop", ["wine", "Iris", "digits"]),
    ],
)
def test_models_are_sorted(
    sort: str, names: list[str], stock: Model, workspace: Workspace, viewer: Any
) -> None:
    assert [model.name for model in selectors.model_list(viewer, workspace, sort=sort)] == names


def test_models_are_searched_and_filtered(stock: Model, workspace: Workspace, viewer: Any) -> None:
    def names(**given: str) -> list[str]:
        return sorted(model.name for model in selectors.model_list(viewer, workspace, **given))

    assert names(search="I") == ["Iris", "digits", "wine"]
    assert names(search="iris") == ["Iris"]
    assert names(status="failed") == ["Iris"]
    assert names(search="100%") == []


def test_the_list_takes_the_same_few_queries_however_long_it_is(
    stock: Model, workspace: Workspace, viewer: Any, django_assert_num_queries: Any
) -> None:
    for number in range(5):
        make_version(workspace, None, model=stock, number=f"1.0.{number}")
        make_version(workspace, None)
    with django_assert_num_queries(2):
        for model in selectors.model_list(viewer, workspace):
            [(version.number, version.state.label) for version in model.versions.all()]


def test_a_stranger_sees_nothing(stock: Model, workspace: Workspace, stranger: Any) -> None:
    assert not selectors.model_list(stranger, workspace)
    assert not selectors.models_of(stranger, workspace)
    assert not selectors.versions_of(stranger, workspace)
    assert not selectors.connection_list(stranger, workspace)
    assert selectors.deployable_versions(stranger, workspace) == []
    assert not selectors.model_list(None, workspace)
    assert selectors.proposal_for(stranger, workspace, "digits").latest is None


def test_only_normal_versions_of_the_type_can_be_deployed(
    stock: Model, workspace: Workspace, viewer: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        found = [str(version) for version in selectors.deployable_versions(viewer, workspace, "real-time")]
    assert found == ["digits 0.0.10", "digits 0.0.9", "digits 0.0.2"]
    assert [str(each) for each in selectors.deployable_versions(viewer, workspace, "batch")][
        -1
    ] == "wine 0.0.1"
    assert len(selectors.deployable_versions(viewer, workspace, "edge")) == 3


def test_the_failure_of_a_version_is_that_of_its_last_transition(workspace: Workspace) -> None:
    from console.lifecycle import fire, note
    from console.problems import Problem

    version = make_version(workspace, status="publishing")
    note(version, problem=Problem("registry.package.config_missing"))
    assert selectors.last_problem(version) is None
    fire(version, "fail", problem=Problem("registry.storage.full", {"needed": 1, "free": 0}))
    event = selectors.last_problem(version)
    assert event is not None and event.code == "registry.storage.full"
    fire(version, "retry")
    assert selectors.last_problem(version) is None
    assert history.events_of(version, "abnormal").count() == 2
    assert history.events_of(version, "normal").count() == 1
    assert history.events_of(version).count() == 3
