"""How views answer: the page or the fragment of it, redirects, and polls that found nothing new (design §8).

Every URL renders a whole page; the same view gives htmx the one `{% partialdef %}` that it asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a piece of the page: not for a boosted visit nor to restore its history."""
    details: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(details) and not details.boosted and not details.history_restore_request


def render_page(
    request: HttpRequest,
    template: str,
    partial: str | None = None,
    context: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page `template`, or its `partial` when htmx asks for a fragment.

    A fragment is rendered with `is_fragment` true and carries the waiting messages, as toasts, out of
    band. The answer varies on HX-Request, so that Back never shows a naked fragment. Give 422 as
    `status` for a form that was refused. Without a `partial` htmx gets the whole page too.
    """
    fragment = partial is not None and wants_fragment(request)
    name = f"{template}#{partial}" if fragment else template
    content = render_to_string(name, {**(context or {}), "is_fragment": fragment}, request)
    if fragment and len(messages.get_messages(request)):
        content += render_to_string("ui/toasts.html", {"is_fragment": True}, request)
    response = HttpResponse(content, status=status)
    patch_vary_headers(response, ["HX-Request"])
    if fragment:
        response["Cache-Control"] = "no-store"
    return response


def see_other(request: HttpRequest, to: Any, *args: Any, **kwargs: Any) -> HttpResponse:
    """After a successful POST: 303 to `to` (an object, a URL name with arguments, or a URL).

    htmx would follow a 303 by itself and swap the whole page into a corner, so it is told to navigate.
    """
    url = resolve_url(to, *args, **kwargs)
    if getattr(request, "htmx", False):
        return HttpResponseClientRedirect(url)
    response = HttpResponse(status=303)
    response["Location"] = url
    return response


def unchanged(request: HttpRequest, tag: str) -> HttpResponse | None:
    """204 when the poll already shows `tag` (`?tag=<revision.progress>`), else None: then render it."""
    if not wants_fragment(request) or request.GET.get("tag") != str(tag):
        return None
    response = HttpResponse(status=204)
    patch_vary_headers(response, ["HX-Request"])
    return response
