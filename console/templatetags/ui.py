"""The components of the console: one tag for each file of `templates/ui/`, of the same name.

Pages say what they mean (`{% status service.state since=service.status_since %}`) and know no CSS class
of a component. The parameters of a tag are the context of its template, where its contract stands; wrong
parameters fail when a page is compiled. `{% x %}…{% endx %}` wrap what is between.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.template.context import Context
from django.template.loader_tags import BLOCK_CONTEXT_KEY

from console import wording
from console.components import Components
from console.templatetags import ui_controls

register = Components()
register.tags.update(ui_controls.register.tags)
register.filter("size", wording.size)
register.filter("rate", wording.rate)
register.filter("duration", wording.duration)
register.filter("exact", wording.exact)


@register.simple_tag(takes_context=True)
def repeat_block(context: Context, name: str) -> str:
    """The content of the page's block `name` once more: the title is also the heading."""
    blocks = context.render_context.get(BLOCK_CONTEXT_KEY)
    block = blocks.get_block(name) if blocks else None
    return block.render(context).strip() if block else ""


@register.filter
def pretty_json(value: Any) -> str:
    """`value` as indented JSON, for `{% code %}`."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.component
def crumb(label: Any, href: str) -> None:
    """One step of the way to a page, for block breadcrumbs."""


# Words and marks


@register.component
def icon(name: str, *, label: Any = "", size: str = "") -> None:
    """A picture from the sprite; decorative unless it has a `label`."""


@register.component
def status(state: Any, *, since: Any = None, percent: int | None = None) -> None:
    """A `console.lifecycle.Status`: dot, word, percent while busy, since when."""


@register.component
def badge(text: Any, *, tone: str = "idle", icon: str = "") -> None:
    """A short mark."""


@register.component
def ago(moment: Any, *, empty: str = "–") -> dict[str, Any]:
    """A relative time with the exact one on hover."""
    return {"words": wording.ago(moment), "exact": wording.exact(moment)} if moment else {}


@register.component
def copy(value: Any, *, label: Any = "", shown: Any = "") -> None:
    """A monospace value with a copy button."""


@register.component
def copy_button(value: Any, *, label: Any = "") -> None:
    """The copy button alone."""


# Acts


@register.component
def button(
    label: Any,
    *,
    href: str = "",
    icon: str = "",
    look: str = "",
    size: str = "",
    name: str = "",
    value: Any = "",
    dialog: bool = False,
    disabled: Any = "",
    icon_only: bool = False,
    formaction: str = "",
    novalidate: bool = False,
) -> None:
    """A link that looks like a button, or a submit button where there is no `href`."""


@register.component
def post_button(
    label: Any,
    url: str,
    *,
    icon: str = "",
    look: str = "",
    size: str = "",
    disabled: Any = "",
    icon_only: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> None:
    """A form of one button: an act that needs no confirmation."""


@register.wrapper
def menu(
    id: str,
    *,
    label: Any = "",
    icon: str = "dots-vertical",
    size: str = "sm",
    icon_only: bool = True,
    look: str = "quiet",
) -> None:
    """A button that opens a list of acts."""


@register.component
def menu_item(
    label: Any, *, href: str = "", post: str = "", icon: str = "", tone: str = "", dialog: bool = False
) -> None:
    """One act of a menu: a link, or a POST."""


@register.wrapper
def confirm(
    *,
    title: Any,
    action: str,
    label: Any,
    cancel: str,
    affected: Iterable[Any] = (),
    affected_title: Any = "",
    type_name: str = "",
    error: Any = "",
    tone: str = "bad",
) -> dict[str, Any]:
    """What a destructive act will do, asked before it is done; a page by itself or a dialog."""
    # For the pattern attribute, whose syntax refuses needless escapes.
    return {"pattern": re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", type_name), "affected": list(affected)}


# Telling


@register.component
def problem(problem: Any, *, href: str = "", label: Any = "", post: str = "", tone: str = "bad") -> None:
    """A `console.problems.Problem`: what failed, why, what to do, and a button."""


@register.wrapper
def note(*, tone: str = "busy", title: Any = "", icon: str = "") -> dict[str, Any]:
    """A remark in the page."""
    return {"icon": icon or _TONE_ICONS[tone]}


_TONE_ICONS = {
    "ok": "circle-check",
    "busy": "info-circle",
    "idle": "info-circle",
    "warn": "alert-triangle",
    "bad": "alert-circle",
}


@register.component
def refusal(status: str, title: Any, text: Any, *, code: Any = "") -> None:
    """What an error page says."""


@register.component
def empty(
    title: Any,
    text: Any = "",
    *,
    icon: str = "inbox",
    href: str = "",
    label: Any = "",
    more: str = "",
    more_label: Any = "",
) -> None:
    """What stands where nothing is yet, with the next step."""


@register.component
def next_step(
    number: int, title: Any, text: Any, *, href: str = "", done: Any = 0, allowed: bool = True, waits: Any = 1
) -> None:
    """One of the first steps in an empty workspace."""


@register.component
def announce(context: Context, text: Any) -> dict[str, Any]:
    """Tell those who cannot see it what a fragment changed."""
    return {"is_fragment": context.get("is_fragment", False)}


@register.component
def progress(
    done: float = 0, total: float = 0, *, unit: str = "", rate: float = 0, stage: Any = "", label: Any = ""
) -> dict[str, Any]:
    """How far work has come; `unit` "bytes" is worded as sizes, no `total` means that the end is unknown."""
    told = wording.size if unit == "bytes" else str
    return {
        "percent": min(100, int(done * 100 / total)) if total else None,
        "done_words": told(done),
        "total_words": told(total) if total else "",
        "rate_words": wording.rate(rate) if rate and unit == "bytes" else "",
    }


# Structure


@register.wrapper
def card(*, title: Any = "", flush: bool = False, href: str = "", label: Any = "", id: str = "") -> None:
    """A surface with an optional heading; `flush` for what brings its own edges (tables, forms, events)."""


@register.wrapper
def card_head(title: Any, *, text: Any = "") -> None:
    """The heading of a flush card with acts at its right."""


@register.wrapper
def stack() -> None:
    """Cards below each other with even gaps."""


@register.wrapper
def columns(*, kind: str = "") -> None:
    """Cards side by side; kind "wide" is two thirds and one third, "small" for figures."""


@register.component
def figure(value: Any, label: Any, *, href: str = "", tone: str = "") -> None:
    """One number and what it counts."""


@register.wrapper
def facts() -> None:
    """A grid of names and values; holds `{% fact %}`."""


@register.wrapper
def fact(label: Any, *, wide: bool = False) -> None:
    """One name and its value."""


@register.component
def tabs(items: Sequence[Mapping[str, Any]], *, label: Any, segmented: bool = False) -> None:
    """Views of one thing: links `{label, url, active, icon?, count?}`."""


@register.component
def stepper(steps: Sequence[Any], current: int) -> None:
    """Where one is in a procedure; `current` counts from 1."""


@register.wrapper
def live(id: str, url: str, *, tag: Any = "", busy: bool = False, final: Any = False) -> dict[str, Any]:
    """A part that keeps itself fresh: every 3 s while busy, 15 s when settled, never when final."""
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "tag"]
    return {"url": urlunsplit(parts._replace(query=urlencode([*query, ("tag", tag)])))}


@register.component
def events(events: Iterable[Any], *, subjects: bool = False) -> None:
    """What happened, newest first: rows with kind, sentence, problem, created_at, actor."""


@register.component
def code(text: Any, *, label: Any) -> None:
    """Text to be pasted, with a copy button."""


@register.component
def log(lines: Iterable[Any], *, label: Any, id: str = "log") -> dict[str, Any]:
    """Log lines with `at` and `text`, oldest first; the view keeps to the end."""
    return {"lines": list(lines)}
