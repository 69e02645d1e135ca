"""The machinery below `templatetags/ui.py`: turns a signature into a tag that renders `ui/<name>.html`.

A component is declared as a function whose parameters are the context of its template; what it returns,
if anything, is added to them. Wrong parameters fail when a page is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

from django.template import Library
from django.template.context import Context
from django.utils.safestring import SafeString, mark_safe

Build = Callable[..., dict[str, Any] | None]


class Components(Library):
    """A tag library that knows two kinds of components."""

    def component(self, build: Build) -> Build:
        """Register `build` as a tag; a first parameter named `context` is given the page's context."""
        self.simple_tag(takes_context=True, name=build.__name__)(_renderer(build, "context"))
        return build

    def wrapper(self, build: Build) -> Build:
        """Register `build` as a pair of tags; its template gets what is between them as `content`."""
        renderer = _renderer(build, "context", "content")
        self.simple_block_tag(takes_context=True, name=build.__name__)(renderer)
        return build


def _renderer(build: Build, *extra: str) -> Callable[..., SafeString]:
    declared = signature(build)
    own = [parameter for name, parameter in declared.parameters.items() if name != "context"]
    parameters = Signature([*(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in extra), *own])
    needs_context = "context" in declared.parameters
    template_name = f"ui/{build.__name__}.html"

    def render(*args: Any, **kwargs: Any) -> SafeString:
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        context: Context = given.pop("context")
        own_arguments = {name: value for name, value in given.items() if name != "content"}
        if needs_context:
            own_arguments["context"] = context
        given |= build(**own_arguments) or {}
        given["csrf_token"] = context.get("csrf_token")
        template = context.template.engine.get_template(template_name)
        # Stripped, so that a mark can stand within a sentence; what a template made is safe already.
        return mark_safe(template.render(context.new(given)).strip())  # noqa: S308

    # Django reads from the signature which parameters a page may give.
    render.__signature__ = parameters  # type: ignore[attr-defined]
    return render
