"""The pages: what they show to whom, what they refuse and where, and that they work without a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from console.lifecycle import fire
from console.models import Operation, Role, Workspace
from console.problems import Problem
from registry.models import Connection, Model, Version
from tests.factories import make_model, make_user, make_version
from tests.registry.conftest import CONFIG, write_package

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def version(workspace: Workspace, owner: Any) -> Version:
    return make_version(workspace, owner, model=make_model(workspace, owner, "digits"))


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def every_url(version: Version, connection: Connection) -> dict[str, str]:
    """Each page below /models/ with a thing of the workspace in it."""
    name, number = version.model.name, version.number
    named = {"model_detail": [name], "model_delete": [name], "model_describe": [name]}
    named |= {f"version_{act}": [name, number] for act in ("detail", "delete", "retry", "cancel", "describe")}
    named |= {f"connection_{act}": [connection.pk] for act in ("change", "delete", "test")}
    urls = {key: reverse(f"registry:{key}", args=args) for key, args in named.items()}
    return urls | {"by_id": reverse("registry:version_detail", args=[version.pk])}


def test_anonymous_readers_are_sent_to_sign_in(version: Version, connection: Connection) -> None:
    client = Client()
    plain = [reverse(f"registry:{name}") for name in ("model_list", "model_import", "connection_list")]
    for url in [*plain, *every_url(version, connection).values()]:
        for method in ("get", "post"):
            response = getattr(client, method)(url)
            assert response.status_code == 302 and response["Location"].startswith("/sign-in/"), url


def test_a_stranger_meets_404_everywhere(version: Version, connection: Connection, stranger: Any) -> None:
    client = signed_in(stranger)
    for key, url in every_url(version, connection).items():
        for method in ("get", "post"):
            response = getattr(client, method)(url)
            not_allowed = {"version_retry", "version_cancel", "connection_test"}
            wanted = 405 if method == "get" and key in not_allowed else 404
            if key in ("model_detail", "version_detail", "by_id") and method == "post":
                wanted = 405
            assert response.status_code == wanted, (key, method)
    assert "digits" not in client.get("/models/").content.decode()
    assert Version.objects.get().status == "published"


def test_a_viewer_reads_everything_and_changes_nothing(
    version: Version, connection: Connection, viewer: Any
) -> None:
    client = signed_in(viewer)
    for url in ("/models/", "/models/digits/", "/models/digits/0.0.1/", "/models/+connections/"):
        response = client.get(url)
        assert response.status_code == 200
        for act in ("Create New Version", ">Delete<", "Add connection", "Edit the description"):
            assert act not in response.content.decode(), (url, act)
    assert client.get("/models/+import/").status_code == 403
    urls = every_url(version, connection)
    for key in ("model_delete", "model_describe", "version_delete", "version_describe", "version_retry",
                "version_cancel", "connection_change", "connection_delete", "connection_test"):  # fmt: skip
        assert client.post(urls[key], {"description": "x"}).status_code == 403, key
    assert Version.objects.get().description == ""


def test_a_developer_may_not_manage_connections(connection: Connection, owner: Any) -> None:
    client = signed_in(owner)
    assert client.get("/models/+connections/").status_code == 200
    assert client.get("/models/+connections/+create/").status_code == 403
    assert client.post(f"/models/+connections/{connection.pk}/", {}).status_code == 403


def test_names_that_no_model_can_have_are_404(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    for path in ("+other", "a b", "digits/1.0", "digits/01.0.0", "digits/1.0.100", "digits/0.0.2", "é"):
        assert client.get(f"/models/{path}/").status_code == 404, path


def test_a_chinese_name_has_a_page(workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner, model=make_model(workspace, owner, "数字识别"))
    response = signed_in(owner).get(version.get_absolute_url())
    assert response.status_code == 200 and "数字识别" in response.content.decode()


def test_the_empty_list_leads_to_the_import(workspace: Workspace, owner: Any) -> None:
    response = signed_in(owner).get("/models/")
    assert "There are no models yet" in text_of(response)
    assert response.content.decode().count('href="/models/+import/"') >= 2


def test_the_list_shows_names_with_their_versions(version: Version, owner: Any) -> None:
    make_version(version.workspace, owner, model=version.model, number="0.1.0")
    page = signed_in(owner).get("/models/").content.decode()
    assert "<details" in page and page.count('class="child"') == 2
    for words in ("Model Name", "Latest Version", "Deployment Type", "Versions", "Created", "Description"):
        assert words in page
    assert page.index("/models/digits/0.1.0/") < page.index("/models/digits/0.0.1/")


def test_a_search_answers_htmx_with_the_rows_alone(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    response = client.get("/models/?q=dig", **HTMX)
    page = response.content.decode()
    assert "digits" in page and "<html" not in page and "HX-Request" in response["Vary"]
    assert "No model matches" in text_of(client.get("/models/?q=zzz", **HTMX))


def test_the_list_takes_the_same_queries_however_long(
    version: Version, owner: Any, django_assert_max_num_queries: Any
) -> None:
    for _number in range(12):
        make_version(version.workspace, owner)
    client = signed_in(owner)
    client.get("/models/")
    with django_assert_max_num_queries(10):
        client.get("/models/")


# --- import ---------------------------------------------------------------------------------------------


@pytest.fixture
def packages(bucket: Path) -> Path:
    config = CONFIG | {
        "apis": [{"request": {"data": {"type": "object", "properties": {"petal": {"type": "number"}}}}}],
        "dependencies": [
            {
                "installer": "pip",
                "packages": [{"package_name": "scipy", "package_version": "1.0", "restraint": "ATLEAST"}],
            }
        ],
        "metrics": {"f1": 0.91},
    }
    write_package(bucket / "team/good", {"model/a.m": "x", "model/config.json": config})
    write_package(bucket / "two", {"model/a.m": "x", "model/b.m": "x", "model/config.json": CONFIG})
    return bucket


def filled(connection: Connection, **more: Any) -> dict[str, Any]:
    return {
        "name": "wine", "version": "0.0.1", "labels": "a, b", "description": "hello",
        "connection": str(connection.pk), "bucket": "models", "path": "team/good/",
        "deployment_types": ["real-time", "batch"],
    } | more  # fmt: skip


def test_the_form_begins_with_the_documented_values(
    owner: Any, connection: Connection, packages: Path
) -> None:
    page = signed_in(owner).get("/models/+import/").content.decode()
    assert re.search(r'name="name" value="model-[0-9a-f]{4}"', page)
    assert re.search(r'name="version" value="0\.0\.1"', page)
    for value in ("real-time", "batch", "edge"):
        assert re.search(rf'value="{value}"[^>]* checked', page), value
    for label in ("Name", "Version", "Label", "Description", "Meta Model Source", "Deployment Type",
                  "Real-Time Services", "Batch Services", "Edge Services", "Create Now"):  # fmt: skip
        assert label in page


def test_browsing_by_plain_get_shows_the_package_before_submit(
    owner: Any, connection: Connection, packages: Path
) -> None:
    client = signed_in(owner)
    where = f"connection={connection.pk}&bucket=models"
    page = text_of(client.get(f"/models/+import/?{where}&path=team/"))
    assert "good" in page and "Choose the parent of the folder model" in page
    page = text_of(client.get(f"/models/+import/?{where}&path=team/good/"))
    for words in ("Scikit_Learn", "POST /", "petal", "number", "scipy", "1.0", "ATLEAST", "0.91"):
        assert words in page, words
    page = text_of(client.get(f"/models/+import/?{where}&path=two/"))
    assert "more than one model file" in page and "model/a.m, model/b.m" in page


def test_going_to_a_folder_keeps_what_was_typed(owner: Any, connection: Connection, packages: Path) -> None:
    client = signed_in(owner)
    given = filled(connection, go="team/", at=f"{connection.pk}/models", description="kept, too")
    response = client.post("/models/+import/", given)
    assert response.status_code == 303
    page = client.get(response["Location"]).content.decode()
    for value in ('value="wine"', 'value="a, b"', "kept, too", 'value="team/good/"'):
        assert value in page, value
    assert re.search(r'value="batch"[^>]* checked', page)
    assert not re.search(r'value="edge"[^>]* checked', page)
    assert "csrfmiddlewaretoken" not in response["Location"]


def test_with_htmx_the_form_is_answered_in_its_place(
    owner: Any, connection: Connection, packages: Path
) -> None:
    response = signed_in(owner).post("/models/+import/", filled(connection, go="team/"), **HTMX)
    page = response.content.decode()
    assert response.status_code == 200 and "<html" not in page and 'id="import"' in page
    assert "path=team%2F" in response["HX-Push-Url"]


def test_another_bucket_begins_at_its_top(owner: Any, connection: Connection, packages: Path) -> None:
    (packages.parent / "second").mkdir()
    given = filled(connection, bucket="second", browse="1", at=f"{connection.pk}/models")
    response = signed_in(owner).post("/models/+import/", given)
    assert "bucket=second&path=&" in response["Location"]


def test_a_good_form_leads_to_the_page_of_the_version(
    owner: Any, connection: Connection, packages: Path
) -> None:
    client = signed_in(owner)
    response = client.post("/models/+import/", filled(connection))
    assert (response.status_code, response["Location"]) == (303, "/models/wine/0.0.1/")
    version = Version.objects.get()
    assert (version.source_path, version.deployment_types) == ("team/good/", ["real-time", "batch"])
    page = text_of(client.get(response["Location"]))
    assert "Importing" in page and "Waiting for a worker" in page and "Cancel the import" in page


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "has space"}, "name"),
        ({"version": "1"}, "version"),
        ({"labels": "1a"}, "labels"),
        ({"description": "<"}, "description"),
        ({"deployment_types": []}, "deployment_types"),
        ({"path": "two/"}, "path"),
        ({"path": "nowhere/"}, "path"),
        ({"path": ""}, "path"),
    ],
)
def test_a_bad_form_is_422_with_the_error_at_its_field(
    changes: dict[str, Any], field: str, owner: Any, connection: Connection, packages: Path
) -> None:
    for more in ({}, HTMX):
        response = signed_in(owner).post("/models/+import/", filled(connection, **changes), **more)
        assert response.status_code == 422
        assert f'id="id_{field}_error"' in response.content.decode()
    assert not Version.objects.exists() and not Model.objects.exists()


def test_a_number_that_is_taken_is_refused_at_the_version(
    owner: Any, connection: Connection, packages: Path
) -> None:
    client = signed_in(owner)
    client.post("/models/+import/", filled(connection))
    response = client.post("/models/+import/", filled(connection))
    assert response.status_code == 422
    assert 'id="id_version_error"' in response.content.decode()
    assert "already has a version 0.0.1" in text_of(response)
    assert "the next is 0.0.2" in text_of(response)


def test_a_new_version_begins_with_what_the_last_one_said(
    owner: Any, connection: Connection, packages: Path
) -> None:
    client = signed_in(owner)
    client.post("/models/+import/", filled(connection))
    page = client.get("/models/+import/?name=wine").content.decode()
    for value in ('value="0.0.2"', 'value="wine"', 'value="a, b"', "hello"):
        assert value in page, value
    assert not re.search(r'value="edge"[^>]* checked', page)


def test_a_page_without_connections_says_what_is_missing(workspace: Workspace, owner: Any) -> None:
    assert "no connection to import from" in text_of(signed_in(owner).get("/models/+import/"))


def test_the_hint_tells_the_next_number(version: Version, owner: Any) -> None:
    Model.objects.update(next_rank=2)
    client = signed_in(owner)
    assert "the next is 0.0.2" in text_of(client.get("/models/+import/number/?name=digits", **HTMX))
    assert "first version is 0.0.1" in text_of(client.get("/models/+import/number/?name=new", **HTMX))


# --- a version ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tab", ["", "basic", "parameters", "dependencies", "precision", "files", "events", "odd"]
)
def test_every_tab_is_a_whole_page(tab: str, version: Version, owner: Any) -> None:
    response = signed_in(owner).get(f"/models/digits/0.0.1/?tab={tab}")
    assert response.status_code == 200 and "</html>" in response.content.decode()


def test_a_normal_version_can_be_deployed_and_no_other(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    deploy = f"?version={version.pk}"
    normal = client.get("/models/digits/0.0.1/").content.decode()
    Version.objects.update(status="failed")
    assert deploy in normal and deploy not in client.get("/models/digits/0.0.1/").content.decode()


def test_a_failed_version_shows_cause_fix_and_retry(workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner, status="publishing", model=make_model(workspace, owner, "bad"))
    fire(version, "fail", problem=Problem("registry.package.config_missing", {}))
    client = signed_in(owner)
    page = client.get("/models/bad/0.0.1/").content.decode()
    assert 'data-problem="registry.package.config_missing"' in page and "ModelArts.3017" in page
    assert "/models/bad/0.0.1/retry/" in page
    response = client.post("/models/bad/0.0.1/retry/")
    assert response.status_code == 303
    version.refresh_from_db()
    assert version.status == "publishing"
    assert client.post("/models/bad/0.0.1/retry/").status_code == 409


def test_the_poll_answers_only_what_is_new(workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner, status="publishing", model=make_model(workspace, owner, "busy"))
    operation = Operation.objects.create(
        kind="registry.import_version", target_id=version.pk, workspace=workspace, state="running",
        stage="copy", done=512, total=2048, unit="bytes", rate=1024,
    )  # fmt: skip
    client = signed_in(owner)
    page = client.get("/models/busy/0.0.1/").content.decode()
    url = re.search(r'hx-get="([^"]+)"[^>]*hx-trigger="every 3s"', page)
    assert url is not None
    poll = url[1].replace("&amp;", "&")
    assert "512 B of 2.00 KiB" in page and "1.00 KiB/s" in page and "25%" in page
    assert client.get(poll, **HTMX).status_code == 204
    operation.done = 1024
    operation.save()
    response = client.get(poll, **HTMX)
    assert response.status_code == 200 and "<html" not in response.content.decode()
    assert "50%" in response.content.decode()
    fire(version, "fail", problem=Problem("registry.storage.full", {"needed": 1, "free": 0}))
    assert client.get(poll, **HTMX)["HX-Refresh"] == "true"
    settled = client.get("/models/busy/0.0.1/").content.decode()
    assert "every 3s" not in settled and "every 15s" not in settled


def test_events_are_filtered_by_kind(workspace: Workspace, owner: Any) -> None:
    version = make_version(workspace, owner, status="publishing", model=make_model(workspace, owner, "bad"))
    version.events.create(kind="normal", code="registry.version.copy_started")
    fire(version, "fail", problem=Problem("registry.package.config_missing", {}))
    client = signed_in(owner)
    page = text_of(client.get("/models/bad/0.0.1/?tab=events&kind=normal"))
    assert "Copying the model files has started." in page
    page = client.get("/models/bad/0.0.1/?tab=events&kind=abnormal").content.decode()
    assert "Copying the model files has started." not in page


def test_a_cancel_is_asked_and_told(
    workspace: Workspace, owner: Any, connection: Connection, packages: Path
) -> None:
    client = signed_in(owner)
    client.post("/models/+import/", filled(connection))
    response = client.post("/models/wine/0.0.1/cancel/")
    assert response.status_code == 303 and Version.objects.get().status == "failed"
    assert "cancelled the import" in text_of(client.get("/models/wine/0.0.1/?tab=events"))


def test_deleting_states_the_consequences_first(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    page = text_of(client.get("/models/digits/0.0.1/delete/"))
    assert "cannot be brought back" in page and Version.objects.get().status == "published"
    assert "<html" not in client.get("/models/digits/0.0.1/delete/", **HTMX).content.decode()
    assert client.post("/models/digits/0.0.1/delete/").status_code == 303
    assert Version.objects.get().status == "deleting"


def test_deleting_a_version_in_use_names_its_services(version: Version, owner: Any) -> None:
    from tests.registry.test_services import use

    use(version, "flower-service")
    client = signed_in(owner)
    page = text_of(client.get("/models/digits/0.0.1/delete/"))
    assert "flower-service" in page and "btn-bad-solid" not in page, "there is nothing to press"
    response = client.post("/models/digits/0.0.1/delete/")
    assert response.status_code == 422 and "is used by these services: flower-service" in text_of(response)
    assert Version.objects.get().status == "published"


def test_a_model_is_deleted_only_with_its_name_typed(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    assert client.post("/models/digits/delete/", {"typed_name": "digit"}).status_code == 422
    assert Version.objects.get().status == "published"
    assert client.post("/models/digits/delete/", {"typed_name": "digits"}).status_code == 303
    assert Version.objects.get().status == "deleting"


def test_a_description_is_edited_in_its_place(version: Version, owner: Any) -> None:
    client = signed_in(owner)
    url = "/models/digits/0.0.1/description/"
    assert client.get(url).status_code == 200
    assert client.post(url, {"description": "<"}, **HTMX).status_code == 422
    assert client.post(url, {"description": "flowers"}).status_code == 303
    assert client.post("/models/digits/description/", {"description": "all"}).status_code == 303
    assert (Version.objects.get().description, Model.objects.get().description) == ("flowers", "all")
    assert client.post(url, {"description": ""}).status_code == 303
    assert Version.objects.get().description == ""


def test_a_colleague_sees_no_acts_that_would_be_refused(version: Version, workspace: Workspace) -> None:
    client = signed_in(make_user(workspace, Role.DEVELOPER))
    page = client.get("/models/digits/0.0.1/").content.decode()
    assert "/models/digits/0.0.1/delete/" not in page
    assert client.post("/models/digits/0.0.1/delete/").status_code == 403


def test_a_version_is_found_by_its_id(version: Version, owner: Any) -> None:
    response = signed_in(owner).get(f"/models/+versions/{version.pk}/")
    assert (response.status_code, response["Location"]) == (302, "/models/digits/0.0.1/")


# --- connections ----------------------------------------------------------------------------------------


def test_a_connection_is_made_tested_changed_and_deleted(
    workspace: Workspace, bucket: Path, admin_user: Any
) -> None:
    client = signed_in(admin_user)
    given = {"name": "mine", "kind": "local", "root": str(bucket.parent), "buckets": ""}
    assert client.post("/models/+connections/+create/", given).status_code == 303
    made = Connection.objects.get()
    assert client.post(f"/models/+connections/{made.pk}/test/").status_code == 303
    assert "mine answers: 1 bucket can be seen." in text_of(client.get("/models/+connections/"))
    assert client.post(f"/models/+connections/{made.pk}/", given | {"name": "ours"}).status_code == 303
    assert Connection.objects.get().name == "ours"
    assert client.get(f"/models/+connections/{made.pk}/delete/").status_code == 200
    assert client.post(f"/models/+connections/{made.pk}/delete/").status_code == 303
    assert not Connection.objects.exists()


def test_a_directory_that_is_not_allowed_is_refused_at_its_field(
    workspace: Workspace, bucket: Path, admin_user: Any
) -> None:
    given = {"name": "all", "kind": "local", "root": "/etc"}
    response = signed_in(admin_user).post("/models/+connections/+create/", given)
    assert response.status_code == 422 and 'id="id_root_error"' in response.content.decode()
    assert not Connection.objects.exists()


def test_a_connection_that_does_not_answer_says_why(
    connection: Connection, admin_user: Any, bucket: Path
) -> None:
    bucket.rmdir()
    bucket.parent.rmdir()
    client = signed_in(admin_user)
    client.post(f"/models/+connections/{connection.pk}/test/")
    assert "cannot be reached" in text_of(client.get("/models/+connections/"))


def test_a_secret_is_never_sent_to_the_browser(workspace: Workspace, admin_user: Any) -> None:
    made = Connection.objects.create(
        workspace=workspace, name="s3", kind="s3", endpoint="https://s3.example.org", secret_key="very-hidden"
    )
    client = signed_in(admin_user)
    for url in ("/models/+connections/", f"/models/+connections/{made.pk}/"):
        assert "very-hidden" not in client.get(url).content.decode()
