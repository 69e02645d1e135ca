"""Deny by default: roles, strangers, and what a developer owns."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from console.access import Denied, may, require, visible_to
from registry.models import Model
from tests.factories import make_model, make_user


@pytest.fixture
def model(workspace: Any, owner: Any) -> Model:
    return make_model(workspace, owner)


def test_members_see_and_strangers_do_not(model: Any, owner: Any, viewer: Any, stranger: Any) -> None:
    assert list(visible_to(Model.objects.all(), owner)) == [model]
    assert list(visible_to(Model.objects.all(), viewer)) == [model]
    assert list(visible_to(Model.objects.all(), stranger)) == []
    assert list(visible_to(Model.objects.all(), AnonymousUser())) == []
    assert list(visible_to(Model.objects.all(), None)) == []


def test_operators_see_everything(model: Any) -> None:
    operator = make_user(is_superuser=True)
    assert list(visible_to(Model.objects.all(), operator)) == [model]
    assert may(operator, "manage_workspace", model)


def test_a_user_who_was_switched_off_sees_nothing(model: Any, owner: Any) -> None:
    owner.is_active = False
    owner.save()
    assert list(visible_to(Model.objects.all(), owner)) == []
    assert not may(owner, "view", model)


ROLES = {
    "viewer": {"view", "predict"},
    "owner": {"view", "predict", "import", "deploy", "change"},
    "admin_user": {"view", "predict", "import", "deploy", "change", "manage_workspace"},
    "stranger": set(),
}
ACTIONS = ["view", "predict", "import", "deploy", "change", "manage_workspace", "an action nobody named"]


@pytest.mark.parametrize("who", ROLES)
@pytest.mark.parametrize("action", ACTIONS)
def test_the_role_table(request: Any, model: Any, who: str, action: str) -> None:
    actor = request.getfixturevalue(who)
    assert may(actor, action, model) == (action in ROLES[who])


def test_a_developer_changes_only_what_is_theirs(model: Any, workspace: Any, admin_user: Any) -> None:
    colleague = make_user(workspace)
    assert not may(colleague, "change", model)
    assert may(admin_user, "change", model)


def test_require_raises_a_problem_that_answers_403(model: Any, viewer: Any) -> None:
    with pytest.raises(Denied) as refusal:
        require(viewer, "change", model)
    assert refusal.value.problem.http == 403
