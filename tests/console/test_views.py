"""The shell's pages: sign-in, overview, jobs, language, errors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from console import operations, signin
from console.models import AuditEntry, Operation, SignInLink
from console.operations import Kind
from tests.factories import make_model, make_user


@pytest.fixture
def operation(workspace: Any, owner: Any, monkeypatch: pytest.MonkeyPatch) -> Operation:
    monkeypatch.setitem(
        operations.kinds,
        "tests.work",
        Kind("tests.work", "Work", failed=lambda op, problem: None, is_cancellable=True),
    )
    return operations.open("tests.work", make_model(workspace, owner, name="iris"), actor=owner)


def test_anonymous_readers_are_sent_to_sign_in_and_back(client: Any, db: None) -> None:
    answer = client.get(reverse("job_list"))
    assert answer.status_code == 302 and answer["Location"] == "/sign-in/?next=/jobs/"


def test_a_password_signs_in_and_goes_where_one_wanted(client: Any, owner: Any) -> None:
    answer = client.post(
        reverse("sign_in"), {"username": owner.username, "password": "correct horse", "next": "/jobs/"}
    )
    assert (answer.status_code, answer["Location"]) == (303, "/jobs/")


def test_sign_in_never_leads_to_another_site(client: Any, owner: Any) -> None:
    answer = client.post(
        reverse("sign_in"),
        {"username": owner.username, "password": "correct horse", "next": "https://evil.example/"},
    )
    assert (answer.status_code, answer["Location"]) == (303, "/")


def test_a_wrong_password_is_422_and_does_not_say_which_was_wrong(client: Any, owner: Any) -> None:
    wrong = client.post(reverse("sign_in"), {"username": owner.username, "password": "no"})
    unknown = client.post(reverse("sign_in"), {"username": "nobody", "password": "no"})
    assert wrong.status_code == unknown.status_code == 422
    message = "The user name or the password is wrong"
    assert message in wrong.content.decode() and message in unknown.content.decode()


def test_a_link_signs_in_once(client: Any, owner: Any) -> None:
    link = signin.issue_link(owner.username)
    path = link.split("8000", 1)[1]
    assert client.get(path)["Location"] == "/"
    assert client.get("/").status_code == 200
    client.logout()
    assert client.get(path).status_code == 410


def test_the_token_of_a_link_is_not_in_the_database(owner: Any) -> None:
    token = signin.issue_link(owner.username).rstrip("/").rsplit("/", 1)[1]
    assert not SignInLink.objects.filter(digest__contains=token).exists()


def test_an_old_link_is_refused(client: Any, owner: Any) -> None:
    token = signin.issue_link(owner.username).rstrip("/").rsplit("/", 1)[1]
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(reverse("sign_in_link", args=[token])).status_code == 410


def test_signing_out_needs_a_post(client: Any, owner: Any) -> None:
    client.force_login(owner)
    assert client.get(reverse("sign_out")).status_code == 405
    assert client.post(reverse("sign_out")).status_code == 303
    assert client.get("/").status_code == 302


def test_the_overview_of_an_empty_workspace_shows_the_next_step(client: Any, owner: Any) -> None:
    client.force_login(owner)
    page = client.get("/").content.decode()
    assert reverse("registry:model_import") in page


def test_somebody_without_a_workspace_is_told_so(client: Any, db: None) -> None:
    client.force_login(make_user())
    assert "not a member of a workspace" in client.get("/").content.decode()
    assert client.get(reverse("job_list")).status_code == 200


def test_the_language_follows_the_reader(client: Any, owner: Any) -> None:
    client.force_login(owner)
    assert 'lang="en"' in client.get("/").content.decode()
    client.post(reverse("set_language"), {"language": "zh-hans"})
    page = client.get("/").content.decode()
    assert 'lang="zh-hans"' in page.lower() and "总览" in page


def test_jobs_are_seen_by_members_only(client: Any, operation: Operation, viewer: Any, stranger: Any) -> None:
    client.force_login(viewer)
    assert "iris" in client.get(reverse("job_list")).content.decode()
    assert client.get(reverse("job_detail", args=[operation.pk])).status_code == 200
    client.force_login(stranger)
    assert "iris" not in client.get(reverse("job_list")).content.decode()
    assert client.get(reverse("job_detail", args=[operation.pk])).status_code == 404
    assert client.post(reverse("job_cancel", args=[operation.pk])).status_code == 404


def test_jobs_are_searched_and_filtered(client: Any, operation: Operation, owner: Any) -> None:
    client.force_login(owner)
    assert "iris" in client.get(reverse("job_list"), {"q": "IRI"}).content.decode()
    assert ">iris<" not in client.get(reverse("job_list"), {"q": "wine"}).content.decode()
    assert ">iris<" not in client.get(reverse("job_list"), {"state": "failed"}).content.decode()


def test_a_poll_that_finds_nothing_new_answers_204(client: Any, operation: Operation, owner: Any) -> None:
    client.force_login(owner)
    url = reverse("job_detail", args=[operation.pk])
    page = client.get(url, headers={"HX-Request": "true"})
    assert page.status_code == 200 and b"<html" not in page.content
    tag = page.context["tag"]
    assert client.get(url, {"tag": tag}, headers={"HX-Request": "true"}).status_code == 204
    operations.run(operation.pk, lambda lease: None)
    final = client.get(url, {"tag": tag}, headers={"HX-Request": "true"})
    assert final.status_code == 200 and b"hx-trigger" not in final.content


def test_a_developer_cancels_a_job_and_the_audit_trail_says_so(
    client: Any, operation: Operation, owner: Any
) -> None:
    client.force_login(owner)
    answer = client.post(reverse("job_cancel", args=[operation.pk]))
    assert answer.status_code == 303
    assert [str(message) for message in get_messages(answer.wsgi_request)] == ["The job is asked to stop."]
    operation.refresh_from_db()
    assert operation.state == "cancelled"
    entry = AuditEntry.objects.get(verb="job.cancel")
    assert (entry.actor, entry.target_id, entry.address) == (owner, str(operation.pk), "127.0.0.1")


def test_a_viewer_may_not_cancel(client: Any, operation: Operation, viewer: Any) -> None:
    client.force_login(viewer)
    answer = client.post(reverse("job_cancel", args=[operation.pk]))
    assert answer.status_code == 403 and "role" in answer.content.decode()
    operation.refresh_from_db()
    assert operation.state == "queued"


def test_an_ended_job_says_why_it_cannot_be_cancelled(client: Any, operation: Operation, owner: Any) -> None:
    operations.run(operation.pk, lambda lease: None)
    client.force_login(owner)
    assert client.post(reverse("job_cancel", args=[operation.pk])).status_code == 409


def test_the_audit_trail_is_append_only(operation: Operation, owner: Any, client: Any) -> None:
    client.force_login(owner)
    client.post(reverse("job_cancel", args=[operation.pk]))
    entry = AuditEntry.objects.get()
    entry.verb = "nothing"
    with pytest.raises(TypeError):
        entry.save()
    with pytest.raises(TypeError):
        entry.delete()


def test_health_is_public_and_tells_little(client: Any, db: None) -> None:
    assert client.get("/healthz").json()["status"] == "ok"


def test_every_page_carries_a_strict_policy(client: Any, owner: Any) -> None:
    client.force_login(owner)
    policy = client.get("/")["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy


def test_a_missing_page_is_a_page(client: Any, owner: Any) -> None:
    client.force_login(owner)
    answer = client.get("/nowhere/")
    assert answer.status_code == 404 and "<h1" in answer.content.decode()


def test_a_bug_shows_a_number_that_the_log_knows(
    client: Any, owner: Any, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("secret inside")

    monkeypatch.setattr("console.views.overview_of", fail)
    client.force_login(owner)
    client.raise_request_exception = False
    answer = client.get("/")
    page = answer.content.decode()
    number = next(r.args[0] for r in caplog.records if r.name == "console.views")
    assert answer.status_code == 500 and number in page and "secret" not in page
