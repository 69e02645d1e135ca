"""A walk over every URL and method: deny by default. A new URL without a rule here fails the walk (design §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from console import operations
from console.operations import Kind
from deployments.models import Service
from deployments.services import seed_specifications
from registry.models import Connection
from tests.deployments.making import make_service
from tests.factories import make_user, make_version

# Open to everybody.
PUBLIC = {"sign_in", "sign_in_link", "set_language", "healthz", "favicon.ico"}
# Pages of one's own workspace: a stranger sees their own, which holds nothing of ours.
OWN = {
    "overview", "job_list", "sign_out", "registry:model_list", "registry:model_import", "registry:model_import_number",
    "registry:connection_list", "registry:connection_create",
    "deployments:service_list", "deployments:service_deploy",
}  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE")


def walk(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """`(name, pattern)` of every URL of ours; Django admin guards itself and is looked at apart."""
    for pattern in patterns if patterns is not None else get_resolver().url_patterns:
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from walk(
                    pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else prefix
                )
        else:
            yield prefix + (pattern.name or str(pattern.pattern)), pattern


NAMES = sorted({name for name, _ in walk()} - {"favicon.ico"})


@pytest.fixture
def things(workspace: Any, owner: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One of everything that a URL may name."""
    monkeypatch.setitem(
        operations.kinds, "tests.work", Kind("tests.work", "Work", failed=lambda operation, problem: None)
    )
    version = make_version(workspace, owner)
    seed_specifications()
    return {
        "version": version,
        "connection": Connection.objects.create(workspace=workspace, name="c", kind="local", root="/x"),
        "service": make_service(owner, workspace, version=version),
        "job": operations.open("tests.work", version),
    }


def address(name: str, things: dict[str, Any]) -> str:
    """The URL `name` of one of the things."""
    version = things["version"]
    every = {
        "token": "x", "name": version.model.name, "number": version.number, "pk": things["job"].pk,
        "tab": "events",
    }  # fmt: skip
    if name.startswith("deployments:"):
        every |= {"pk": things["service"].pk, "number": 1}
    elif "connection" in name:
        every |= {"pk": things["connection"].pk}
    elif name.startswith("registry:"):
        every |= {"pk": version.pk}
    patterns = [pattern for found, pattern in walk() if found == name]
    wanted = patterns[0].pattern.converters
    return reverse(name, kwargs={key: every[key] for key in wanted})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC])
def test_anonymous_callers_get_nothing(client: Any, things: dict[str, Any], name: str) -> None:
    url = address(name, things)
    for method in METHODS:
        answer = client.generic(method, url)
        assert answer.status_code in (302, 405), (method, url)
        if answer.status_code == 302:
            assert answer["Location"].startswith("/sign-in/"), (method, url)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC | OWN])
def test_a_stranger_never_learns_that_it_exists(
    client: Any, things: dict[str, Any], stranger: Any, name: str
) -> None:
    client.force_login(stranger)
    url = address(name, things)
    for method in METHODS:
        assert client.generic(method, url).status_code in (404, 405), (method, url)


@pytest.mark.parametrize("name", [name for name in NAMES if name in OWN - {"sign_out"}])
def test_a_stranger_s_own_pages_hold_nothing_of_ours(
    client: Any, things: dict[str, Any], stranger: Any, name: str
) -> None:
    client.force_login(stranger)
    answer = client.get(address(name, things))
    assert answer.status_code in (200, 403)
    assert things["version"].model.name not in answer.content.decode()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC | {"sign_out"}])
def test_a_viewer_changes_nothing(
    client: Any, things: dict[str, Any], viewer: Any, name: str, rows: Callable[[], Any]
) -> None:
    client.force_login(viewer)
    url, before = address(name, things), rows()
    for method in METHODS[1:]:
        # What a viewer may do writes nothing: a prediction, which the gateway does not answer here.
        allowed = (403, 404, 405) if name != "deployments:service_predict" else (200, 405, 422, 502, 503)
        assert client.generic(method, url).status_code in allowed, (method, url)
    assert rows() == before


@pytest.fixture
def rows() -> Callable[[], Any]:
    """A picture of everything that people can change."""
    from console.models import AuditEntry, Operation
    from registry.models import Model, Version

    tables = (Model, Version, Connection, Service, Operation, AuditEntry)
    return lambda: [list(table.objects.order_by("pk").values_list()) for table in tables]


def test_django_admin_is_for_operators(client: Any, admin_user: Any) -> None:
    client.force_login(admin_user)
    assert client.get("/admin/").status_code == 302
    assert client.get("/admin/registry/version/").status_code == 302


def test_an_operator_opens_every_list_of_django_admin(client: Any, things: dict[str, Any]) -> None:
    client.force_login(make_user(is_staff=True, is_superuser=True))
    for model in admin.site._registry:
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert client.get(url).status_code == 200, url
