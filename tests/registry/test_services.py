"""What people may do to models, versions and connections, and what comes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection as database

from console.lifecycle import IllegalTransition
from console.models import AuditEntry, Operation, Role, Workspace
from console.problems import ProblemError
from deployments.models import RevisionTarget, Service, ServiceRevision, Specification
from registry import deleting, selectors, services
from registry.models import Connection, Discarded, FormerModel, Label, Model, Version
from tests.factories import make_user, make_version
from tests.registry.conftest import codes

pytestmark = pytest.mark.django_db


def begin(actor: Any, connection: Connection, **more: Any) -> Version:
    given: dict[str, Any] = {"name": "digits", "bucket": "models", "path": "digits"} | more
    return services.import_version(
        actor=actor, workspace=connection.workspace, connection=connection, **given
    )


def refused(call: Any) -> tuple[str, str | None]:
    with pytest.raises(ProblemError) as caught:
        call()
    return caught.value.problem.code, caught.value.field


def delete_at_once(actor: Any, version: Version) -> None:
    """Delete a version as a person and then as the worker."""
    from console import operations

    services.delete_version(actor=actor, version=version)
    operation = Operation.objects.get(target_id=version.pk, kind=deleting.DELETE.name, state="queued")
    assert operations.run(operation.pk, deleting.work) == "succeeded"


# --- import ---------------------------------------------------------------------------------------------


def test_an_import_begins_with_everything_it_needs(owner: Any, connection: Connection) -> None:
    version = begin(owner, connection, labels=["image", "图像"], description="first", path="/digits/")
    assert (version.status, version.number, version.ordinal) == ("publishing", "0.0.1", 1)
    assert (version.source_bucket, version.source_path) == ("models", "digits/")
    assert version.deployment_types == ["real-time", "batch", "edge"]
    assert sorted(version.labels.values_list("name", flat=True)) == ["image", "图像"]
    assert codes(version) == ["registry.version.import_started"]
    operation = Operation.objects.get(target_id=version.pk)
    assert (operation.kind, operation.state, operation.actor) == ("registry.import_version", "queued", owner)
    entry = AuditEntry.objects.get(verb="version.import")
    assert (entry.actor, entry.target_id) == (owner, str(version.pk))


def test_labels_come_from_the_workspace_catalogue(owner: Any, connection: Connection) -> None:
    begin(owner, connection, labels=["image"])
    begin(owner, connection, labels=["image", "big"])
    assert sorted(Label.objects.values_list("name", flat=True)) == ["big", "image"]


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"name": "has space"}, "registry.field.model_name", "name"),
        ({"name": ""}, "registry.field.model_name", "name"),
        ({"name": "x" * 65}, "registry.field.model_name", "name"),
        ({"number": "1.0"}, "registry.field.model_version", "version"),
        ({"number": "01.0.0"}, "registry.field.model_version", "version"),
        ({"number": "1.0.100"}, "registry.field.model_version", "version"),
        ({"labels": ["1st"]}, "registry.field.label", "labels"),
        ({"labels": ["a", "b", "c", "d", "e", "f"]}, "registry.field.labels_too_many", "labels"),
        ({"description": "<b>"}, "registry.field.description", "description"),
        ({"description": "x" * 101}, "registry.field.description_long", "description"),
        ({"deployment_types": []}, "registry.field.deployment_types_none", "deployment_types"),
        ({"deployment_types": ["cloud"]}, "registry.field.deployment_type", "deployment_types"),
        ({"path": "../other"}, "registry.source.illegal_name", "path"),
        ({"bucket": "a/b"}, "registry.source.no_such_path", "path"),
    ],
)
def test_the_service_refuses_what_the_form_refuses(
    more: dict[str, Any], code: str, field: str, owner: Any, connection: Connection
) -> None:
    assert refused(lambda: begin(owner, connection, **more)) == (code, field)
    assert not Version.objects.exists() and not Model.objects.exists() and not Operation.objects.exists()


def test_the_same_name_and_version_twice_is_refused_at_the_version(
    owner: Any, connection: Connection
) -> None:
    begin(owner, connection, number="1.2.3")
    assert refused(lambda: begin(owner, connection, number="1.2.3")) == (
        "registry.version.duplicate",
        "version",
    )
    assert Version.objects.count() == Operation.objects.count() == 1


def test_another_workspace_has_names_of_its_own(owner: Any, connection: Connection, stranger: Any) -> None:
    begin(owner, connection)
    other = stranger.memberships.get().workspace
    theirs = Connection.objects.create(workspace=other, name="local", kind="local", root=connection.root)
    assert begin(stranger, theirs).number == "0.0.1"


def test_a_connection_of_another_workspace_is_no_source(
    owner: Any, connection: Connection, stranger: Any
) -> None:
    other = stranger.memberships.get().workspace

    def call() -> None:
        services.import_version(
            actor=stranger, workspace=other, name="x", connection=connection, bucket="models", path="digits"
        )

    assert refused(call) == ("registry.source.connection_gone", "connection")


# --- numbers --------------------------------------------------------------------------------------------


def test_numbers_and_ordinals_go_on_from_the_highest_ever(owner: Any, connection: Connection) -> None:
    assert begin(owner, connection).number == "0.0.1"
    assert begin(owner, connection).number == "0.0.2"
    assert begin(owner, connection, number="1.4.99").number == "1.4.99"
    assert begin(owner, connection, number="0.9.0").number == "0.9.0"
    latest = begin(owner, connection)
    assert (latest.number, latest.ordinal) == ("1.5.0", 5)


def test_a_deleted_number_is_never_proposed_again(owner: Any, connection: Connection) -> None:
    begin(owner, connection)
    second = begin(owner, connection)
    Version.objects.filter(pk=second.pk).update(status="failed")
    second.refresh_from_db()
    delete_at_once(owner, second)
    third = begin(owner, connection)
    assert (third.number, third.ordinal) == ("0.0.3", 3)


def test_a_name_remembers_its_numbers_after_its_last_version(owner: Any, connection: Connection) -> None:
    version = begin(owner, connection, number="2.0.0")
    Version.objects.filter(pk=version.pk).update(status="failed")
    version.refresh_from_db()
    delete_at_once(owner, version)
    assert not Model.objects.exists() and FormerModel.objects.get().next_rank == 20001
    assert selectors.proposal_for(owner, connection.workspace, "digits").number == "2.0.1"
    again = begin(owner, connection)
    assert (again.number, again.ordinal) == ("2.0.1", 2)


def test_after_the_last_number_a_number_must_be_typed(owner: Any, connection: Connection) -> None:
    begin(owner, connection, number="99.99.99")
    assert refused(lambda: begin(owner, connection)) == ("registry.version.numbers_used_up", "version")
    assert begin(owner, connection, number="5.0.0").ordinal == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", ["1.0.0", ""])
def test_of_imports_that_race_each_gets_its_own_number(
    number: str, owner: Any, connection: Connection
) -> None:
    """Four threads on a file database: the typed number has one winner, proposals are all different."""
    together = threading.Barrier(4)
    outcomes: list[str] = []

    def race() -> None:
        try:
            together.wait(10)
            outcomes.append(begin(owner, connection, number=number).number)
        except ProblemError as error:
            outcomes.append(error.problem.code)
        finally:
            database.close()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if number:
        assert sorted(outcomes) == ["1.0.0"] + ["registry.version.duplicate"] * 3
    else:
        assert sorted(outcomes) == ["0.0.1", "0.0.2", "0.0.3", "0.0.4"]
    assert Model.objects.count() == 1
    ordinals = sorted(Version.objects.values_list("ordinal", flat=True))
    assert ordinals == list(range(1, len(ordinals) + 1))
    assert Operation.objects.count() == Version.objects.count()


# --- who may --------------------------------------------------------------------------------------------


def test_who_may_import(workspace: Workspace, connection: Connection, viewer: Any, stranger: Any, owner: Any,
                        admin_user: Any) -> None:  # fmt: skip
    for actor in (viewer, stranger):
        assert refused(lambda actor=actor: begin(actor, connection))[0] == "console.access.denied"
    for actor in (owner, admin_user):
        begin(actor, connection)


def test_only_its_owner_and_administrators_change_a_version(
    workspace: Workspace, owner: Any, admin_user: Any, viewer: Any, stranger: Any
) -> None:
    version = make_version(workspace, owner, status="failed")
    colleague = make_user(workspace, Role.DEVELOPER)
    acts = (
        lambda actor: services.retry_version(actor=actor, version=version),
        lambda actor: services.cancel_import(actor=actor, version=version),
        lambda actor: services.delete_version(actor=actor, version=version),
        lambda actor: services.edit_description(actor=actor, version=version, description="x"),
        lambda actor: services.delete_model(actor=actor, model=version.model),
        lambda actor: services.edit_model_description(actor=actor, model=version.model, description="x"),
    )
    for actor in (colleague, viewer, stranger, None):
        for act in acts:
            assert refused(lambda act=act, actor=actor: act(actor))[0] == "console.access.denied"
    version.refresh_from_db()
    assert version.status == "failed" and not version.events.exists()
    services.edit_description(actor=admin_user, version=version, description="by an administrator")
    services.retry_version(actor=owner, version=version)
    assert version.status == "publishing"


# --- retry, cancel, delete, describe --------------------------------------------------------------------


def test_a_retry_takes_the_files_anew_in_a_new_place(owner: Any, connection: Connection) -> None:
    version = begin(owner, connection)
    Operation.objects.update(state="failed")
    Version.objects.update(status="failed")
    version.refresh_from_db()
    before = version.artifact_prefix
    services.retry_version(actor=owner, version=version)
    assert version.status == "publishing" and version.artifact_prefix != before
    assert Operation.objects.filter(state="queued", target_id=version.pk).count() == 1
    with pytest.raises(IllegalTransition):
        services.retry_version(actor=owner, version=version)


def test_cancelling_an_import_that_waits_ends_it_at_once(owner: Any, connection: Connection) -> None:
    version = begin(owner, connection)
    services.cancel_import(actor=owner, version=version)
    version.refresh_from_db()
    assert version.status == "failed"
    event = version.events.first()
    assert (event.code, event.trigger, event.params) == (
        "registry.version.cancelled", "cancel", {"actor": str(owner)},
    )  # fmt: skip
    assert Discarded.objects.filter(prefix=version.artifact_prefix).exists()
    with pytest.raises(IllegalTransition):
        services.cancel_import(actor=owner, version=version)


def use(version: Version, name: str = "my-service") -> Service:
    """A service with one revision on `version`."""
    service = Service.objects.create(workspace=version.workspace, name=name, status="running")
    revision = ServiceRevision.objects.create(service=service, number=1)
    specification, _made = Specification.objects.get_or_create(
        code="s", defaults={"name_en": "s", "name_zh": "s", "cpu": 1, "memory_mb": 512}
    )
    RevisionTarget.objects.create(revision=revision, version=version, specification=specification)
    return service


def test_a_version_in_use_is_not_deleted_and_its_services_are_named(workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner)
    service = use(version)
    assert services.users_of(version) == [service]
    with pytest.raises(ProblemError) as caught:
        services.delete_version(actor=owner, version=version)
    problem = caught.value.problem
    assert (problem.code, problem.documented) == ("registry.version.in_use", "ModelArts.3009")
    assert "my-service" in problem.cause
    version.refresh_from_db()
    assert version.status == "published"


@pytest.mark.parametrize("status", ["publishing", "building", "deleting"])
def test_a_busy_version_is_not_deleted(status: str, workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner, status=status)
    with pytest.raises(IllegalTransition):
        services.delete_version(actor=owner, version=version)


def test_deleting_a_model_leaves_what_cannot_go_and_says_why(workspace: Workspace, owner: Any) -> None:
    free = make_version(workspace, owner, number="0.0.1")
    used = make_version(workspace, owner, model=free.model, number="0.0.2")
    busy = make_version(workspace, owner, model=free.model, number="0.0.3", status="publishing")
    use(used)
    refused_versions = services.delete_model(actor=owner, model=free.model)
    assert {version.number: problem.code for version, problem in refused_versions} == {
        "0.0.2": "registry.version.in_use",
        "0.0.3": "registry.version.busy",
    }
    assert {version.number: version.status for version in Version.objects.all()} == {
        "0.0.1": "deleting", "0.0.2": "published", "0.0.3": "publishing",
    }  # fmt: skip
    assert busy.number == "0.0.3"


def test_a_changed_description_leaves_an_event_and_the_same_one_none(
    workspace: Workspace, owner: Any
) -> None:
    version = make_version(workspace, owner)
    services.edit_description(actor=owner, version=version, description="new")
    services.edit_description(actor=owner, version=version, description="new")
    assert codes(version) == ["registry.version.description_changed"]
    call = lambda: services.edit_description(actor=owner, version=version, description="a&b")  # noqa: E731
    assert refused(call) == ("registry.field.description", "description")


# --- connections ----------------------------------------------------------------------------------------


def test_only_administrators_make_connections(
    workspace: Workspace, bucket: Any, owner: Any, viewer: Any, stranger: Any, admin_user: Any
) -> None:
    given = {"workspace": workspace, "name": "c", "kind": "local", "root": str(bucket.parent)}
    for actor in (owner, viewer, stranger):
        code = refused(lambda actor=actor: services.create_connection(actor=actor, **given))[0]
        assert code == "console.access.denied"
    made = services.create_connection(actor=admin_user, **given)
    for actor in (owner, viewer, stranger):
        assert refused(lambda actor=actor: services.delete_connection(actor=actor, connection=made))
    services.delete_connection(actor=admin_user, connection=made)
    assert AuditEntry.objects.filter(verb__startswith="connection.").count() == 2


@pytest.mark.parametrize("root", ["/", "/etc", "relative", "", "{allowed}/../..", "{link}"])
def test_a_directory_outside_the_allowed_roots_is_refused(
    root: str, workspace: Workspace, bucket: Any, admin_user: Any
) -> None:
    (bucket / "link").symlink_to("/etc")
    root = root.format(allowed=bucket.parent, link=bucket / "link")
    given = {"workspace": workspace, "name": "c", "kind": "local", "root": root}
    call = lambda: services.create_connection(actor=admin_user, **given)  # noqa: E731
    assert refused(call) == ("registry.connection.root_not_allowed", "root")
    assert not Connection.objects.exists()


def test_a_root_that_is_no_longer_allowed_opens_nothing(connection: Connection, settings: Any) -> None:
    from registry.connections import open_store

    assert open_store(connection).buckets() == ["models"]
    settings.SLIPWAY_LOCAL_ROOTS = ["/somewhere/else"]
    assert refused(lambda: open_store(connection))[0] == "registry.connection.root_not_allowed"


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://s3", "http://user:pw@s3", "http://s3/path", "http://", "s3.example.org", "http://s3?x=1"],
)
def test_an_endpoint_is_a_plain_address(endpoint: str, workspace: Workspace, admin_user: Any) -> None:
    given = {"workspace": workspace, "name": "c", "kind": "s3", "endpoint": endpoint}
    call = lambda: services.create_connection(actor=admin_user, **given)  # noqa: E731
    assert refused(call) == ("registry.connection.endpoint_illegal", "endpoint")


def test_a_secret_is_kept_when_left_empty_but_never_sent_elsewhere(
    workspace: Workspace, admin_user: Any
) -> None:
    given = {"name": "c", "endpoint": "https://s3.example.org", "access_key": "me"}
    made = services.create_connection(
        actor=admin_user, workspace=workspace, kind="s3", secret_key="hidden", **given
    )
    services.update_connection(actor=admin_user, connection=made, **given | {"name": "renamed"})
    assert Connection.objects.get().secret_key == "hidden"
    services.update_connection(
        actor=admin_user, connection=made, **given | {"endpoint": "https://evil.example.org"}
    )
    assert Connection.objects.get().secret_key == ""
    assert "hidden" not in str([entry.data for entry in AuditEntry.objects.all()])


def test_two_connections_of_one_name_are_refused(connection: Connection, admin_user: Any) -> None:
    call = lambda: services.create_connection(  # noqa: E731
        actor=admin_user, workspace=connection.workspace, name="local", kind="local", root=connection.root
    )
    assert refused(call) == ("registry.connection.duplicate", "name")
