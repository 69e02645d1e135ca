"""Pages and fragments: the same URL answers both, and a redirect never lands in a corner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django_htmx.middleware import HtmxMiddleware

from console.htmx import render_page, see_other, unchanged

HTMX = {"HX-Request": "true"}


class _Kept(BaseStorage):
    """Messages of one request, without a session."""

    def _get(self, *args: Any, **kwargs: Any) -> tuple[list[Any], bool]:
        return [], True

    def _store(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []


@pytest.fixture
def ask(rf: RequestFactory) -> Callable[..., HttpRequest]:
    def make(path: str = "/jobs/", **headers: str) -> HttpRequest:
        request = rf.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        request.user = AnonymousUser()
        request._messages = _Kept(request)
        HtmxMiddleware(lambda _: HttpResponse())(request)
        return request

    return make


def answer(request: HttpRequest, status: int = 200) -> HttpResponse:
    from django.core.paginator import Paginator

    context = {"page": Paginator([], 25).page(1), "q": "", "state": "", "states": []}
    return render_page(request, "console/job_list.html", "rows", context, status)


def test_a_plain_visit_gets_the_whole_page(ask: Callable[..., HttpRequest]) -> None:
    response = answer(ask())
    assert b"<html" in response.content
    assert b'id="rows"' in response.content


def test_htmx_gets_the_fragment_alone(ask: Callable[..., HttpRequest]) -> None:
    response = answer(ask(**HTMX))
    assert b"<html" not in response.content
    assert response.content.strip().startswith(b'<section id="rows"')


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_boosted_visits_and_restored_history_get_the_whole_page(
    ask: Callable[..., HttpRequest], header: str
) -> None:
    assert b"<html" in answer(ask(**HTMX, **{header: "true"})).content


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_caches_keep_page_and_fragment_apart(
    ask: Callable[..., HttpRequest], headers: dict[str, str]
) -> None:
    assert "HX-Request" in answer(ask(**headers))["Vary"]


def test_a_refused_form_keeps_its_status(ask: Callable[..., HttpRequest]) -> None:
    assert answer(ask(**HTMX), 422).status_code == 422


def test_waiting_messages_ride_with_a_fragment_out_of_band(ask: Callable[..., HttpRequest]) -> None:
    request = ask(**HTMX)
    messages.success(request, "The <b>job</b> is asked to stop.")
    content = answer(request).content.decode()
    assert 'id="toasts"' in content
    assert 'hx-swap-oob="beforeend"' in content
    assert "&lt;b&gt;job&lt;/b&gt;" in content


def test_a_fragment_without_messages_carries_no_toasts(ask: Callable[..., HttpRequest]) -> None:
    assert b"toasts" not in answer(ask(**HTMX)).content


def test_a_count_is_announced_with_a_fragment_only(ask: Callable[..., HttpRequest]) -> None:
    said = b'<div id="announcer" hx-swap-oob="innerHTML">'
    assert said in answer(ask(**HTMX)).content
    assert said not in answer(ask()).content
    assert said not in answer(ask("/jobs/?tag=3", **HTMX)).content  # a poll that nobody asked for is silent


def test_after_a_post_a_browser_is_sent_on_with_303(ask: Callable[..., HttpRequest]) -> None:
    response = see_other(ask(), "overview")
    assert (response.status_code, response["Location"]) == (303, "/")


def test_after_a_post_htmx_is_told_to_navigate(ask: Callable[..., HttpRequest]) -> None:
    response = see_other(ask(**HTMX), "overview")
    assert (response.status_code, response["HX-Redirect"]) == (200, "/")
    assert "Location" not in response


def test_a_poll_that_shows_the_latest_gets_204(ask: Callable[..., HttpRequest]) -> None:
    response = unchanged(ask("/?tag=7.45", **HTMX), "7.45")
    assert response is not None
    assert response.status_code == 204
    assert not response.content


@pytest.mark.parametrize(("path", "headers"), [("/?tag=7.44", HTMX), ("/", HTMX), ("/?tag=7.45", {})])
def test_anything_else_is_rendered(
    ask: Callable[..., HttpRequest], path: str, headers: dict[str, str]
) -> None:
    assert unchanged(ask(path, **headers), "7.45") is None
