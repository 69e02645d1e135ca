"""The components: each keeps its contract, is reachable without a script, and escapes what it shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.core.paginator import Paginator
from django.template import Context, Template, TemplateSyntaxError, engines
from django.template.loader import get_template, render_to_string
from django.test import Client, RequestFactory
from django.utils.translation import override

from console.context_processors import shell
from console.problems import Problem
from console.templatetags import ui
from tests.console.gallery import GalleryForm, gallery_context

TEMPLATES = settings.BASE_DIR / "templates"
PARTS = sorted((TEMPLATES / "ui").glob("*.html"))
EVERY = sorted(TEMPLATES.rglob("*.html"))
# Pieces that base.html and stand-alone pages include; they are no tags.
INCLUDED = {"language", "standalone", "theme", "toasts"}
VOID = {"meta", "link", "input", "br", "hr", "img", "path"}


class Tree(HTMLParser):
    """Elements in order as `(tag, attributes)`, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} closes {self.open[-1:]}")
        else:
            self.open.pop()

    def all(self, element: str, /, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for tag, attributes in self.elements
            if tag == element and all(attributes.get(key) == value for key, value in wanted.items())
        ]


def show(source: str, path: str = "/jobs/", **context: Any) -> str:
    request = RequestFactory().get(path)
    request.user = AnonymousUser()
    with override("en"):
        return Template("{% load i18n ui jobs %}" + source).render(Context(context | {"request": request}))


@pytest.fixture
def gallery() -> str:
    request = RequestFactory().get("/gallery/?sort=name")
    request.user = User(username="admin")
    source = (Path(__file__).parent / "gallery.html").read_text(encoding="utf-8")
    with override("en"):
        return engines["django"].from_string(source).render(gallery_context(), request)


# Contracts


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_every_template_opens_with_its_contract(path: Path) -> None:
    assert re.match(r"\{# \w|\{% comment %\}", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_a_short_comment_ends_on_its_line(path: Path) -> None:
    # Django takes {# … #} over several lines for text, and shows it.
    for line in path.read_text(encoding="utf-8").splitlines():
        assert re.sub(r"\{#.*?#\}", "", line).count("{#") == 0


def test_every_component_has_one_template_and_one_tag() -> None:
    from console.templatetags import jobs

    tags = {*ui.register.tags, *jobs.register.tags} - {"repeat_block"}
    assert tags == {path.stem for path in PARTS} - INCLUDED


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_every_template_compiles(path: Path) -> None:
    get_template(path.relative_to(TEMPLATES).as_posix())


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_no_template_needs_more_than_the_strict_policy_allows(path: Path) -> None:
    text = re.sub(
        r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}", "", path.read_text(encoding="utf-8"), flags=re.S
    )
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"hx-(boost|on|vars|prompt|ext|disinherit|inherit)\b", text)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_whatever_sends_also_says_where_the_answer_goes(path: Path) -> None:
    for tag in re.findall(r"<\w+[^<]*?hx-(?:get|post)=[^<]*", path.read_text(encoding="utf-8")):
        assert "hx-target=" in tag
        assert "hx-swap=" in tag


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    sprite = (settings.BASE_DIR / "static/vendor/tabler-icons-3.51.0/sprite.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    named = set()
    for path in EVERY:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"\{% icon \"([\w-]+)\"|icon=\"([\w-]+)\"", text))
    from console.context_processors import ENTRIES

    wanted = {name for pair in named for name in pair if name} | {entry.icon for entry in ENTRIES}
    assert wanted - drawn == set()


def test_a_wrong_parameter_fails_when_the_page_is_compiled() -> None:
    with pytest.raises(TemplateSyntaxError, match="colour"):
        Template("{% load ui %}{% badge 'x' colour='red' %}")
    with pytest.raises(TemplateSyntaxError, match="title"):
        Template("{% load ui %}{% confirm action='/' label='x' cancel='/' %}{% endconfirm %}")


# The gallery


def test_the_gallery_is_well_formed_and_has_one_heading(gallery: str) -> None:
    tree = Tree(gallery)
    assert tree.faults == []
    assert len(tree.all("h1")) == 1
    assert "<h1>digits-classifier</h1>" in gallery
    assert "<title>digits-classifier · Slipway</title>" in gallery


def test_ids_are_unique_and_references_lead_somewhere(gallery: str) -> None:
    tree = Tree(gallery)
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tree.elements:
        for name in ("for", "popovertarget", "aria-describedby"):
            for target in (attributes.get(name) or "").split():
                assert target in ids, (name, target)


def test_every_control_has_a_name(gallery: str) -> None:
    tree = Tree(gallery)
    labelled = {attributes["for"] for attributes in tree.all("label")}
    controls = [
        a for tag in ("input", "select", "textarea") for a in tree.all(tag) if a.get("type") != "hidden"
    ]
    assert controls
    assert [a for a in controls if a.get("id") not in labelled and "aria-label" not in a] == []


def test_icons_are_silent_unless_they_carry_meaning() -> None:
    assert 'aria-hidden="true"' in show('{% icon "cube" %}')
    spoken = show('{% icon "cube" label=words %}', words="Model <1>")
    assert 'role="img" aria-label="Model &lt;1&gt;"' in spoken


# Escaping


@pytest.mark.parametrize(
    "source",
    [
        "{% badge evil %}",
        "{% copy evil label=evil shown=evil %}",
        "{% button evil href=evil disabled=evil %}",
        "{% button evil name='x' value=evil %}",
        "{% post_button evil evil fields=pairs %}",
        "{% confirm title=evil action=evil label=evil cancel='/' affected=several %}{% endconfirm %}",
        "{% confirm title='' action='' label='' cancel=evil error=evil %}{{ evil }}{% endconfirm %}",
        "{% confirm title='' action='' label='' cancel='' type_name=evil %}{% endconfirm %}",
        "{% problem problem %}",
        "{% note title=evil %}{{ evil }}{% endnote %}",
        "{% empty evil evil href=evil label=evil %}",
        "{% card title=evil href=evil label=evil %}{{ evil }}{% endcard %}",
        "{% fact evil %}{{ evil }}{% endfact %}",
        "{% code evil label=evil %}",
        "{% log lines label=evil %}",
        "{% filters label=evil query=evil %}{% endfilters %}",
        "{% tabs tabs label=evil %}",
        "{% progress 1 2 unit='bytes' stage=evil %}",
        "{% live 'x' evil tag=evil %}{{ evil }}{% endlive %}",
        "{% menu 'x' label=evil %}{% menu_item evil href=evil %}{% endmenu %}",
    ],
)
def test_what_people_wrote_is_never_markup(source: str) -> None:
    evil = "\"'><script>alert(1)</script>"
    shown = show(
        source,
        evil=evil,
        several=[evil],
        pairs={evil: evil},
        problem=Problem(evil, {"name": evil}),
        lines=[SimpleNamespace(at=None, text=evil)],
        tabs=[{"label": evil, "url": evil, "active": True}],
    )
    assert "<script>" not in shown
    assert Tree(shown).faults == []


# Forms


def test_a_refused_field_says_so_to_everybody() -> None:
    form = GalleryForm({"name": "bad name!"})
    tree = Tree(show("{% field form.name %}", form=form))
    control = tree.all("input", id="id_name")[0]
    assert control["aria-invalid"] == "true"
    assert set(control["aria-describedby"].split()) == {"id_name_helptext", "id_name_error"}
    assert tree.all("div", id="id_name_error")
    assert tree.all("div", id="id_name_helptext")


def test_choices_are_a_group_with_a_legend() -> None:
    tree = Tree(show("{% field form.kind look='segments' %}", form=GalleryForm()))
    assert len(tree.all("fieldset")) == len(tree.all("legend")) == 1
    assert len(tree.all("input", type="radio", name="kind")) == 2


def test_several_choices_are_boxes_to_tick() -> None:
    tree = Tree(show("{% field form.types %}", form=GalleryForm({"types": ["r"]})))
    boxes = tree.all("input", type="checkbox", name="types")
    assert [("checked" in box) for box in boxes] == [True, False]


def test_a_card_that_cannot_be_chosen_tells_why() -> None:
    shown = show(
        "{% field form.size look='cards' details=details %}",
        form=GalleryForm(),
        details={"g": {"disabled": "Sold out"}},
    )
    assert "disabled" in Tree(shown).all("input", value="g")[0]
    assert "Sold out" in shown


def test_the_summary_of_errors_links_to_the_fields() -> None:
    shown = show("{% form_errors form %}", form=GalleryForm({"name": "bad name!"}))
    assert '<a href="#id_name">Name</a>' in shown
    assert show("{% form_errors form %}", form=GalleryForm()) == ""


def test_a_password_is_never_sent_back() -> None:
    class Secret(forms.Form):
        secret = forms.CharField(widget=forms.PasswordInput)

    assert "hunter2" not in show("{% field form.secret %}", form=Secret({"secret": "hunter2"}))


def test_the_name_to_type_is_matched_literally() -> None:
    shown = show("{% confirm title='t' action='/' label='l' cancel='/' type_name='a.b-c' %}{% endconfirm %}")
    assert Tree(shown).all("input", name="typed_name")[0]["pattern"] == r"a\.b-c"


# Lists


def test_pages_and_heads_keep_the_query_but_not_the_poll() -> None:
    page = Paginator(range(100), 10).page(3)
    source = "{% head 'Name' sort='name' %}{% pager page %}"
    tree = Tree(show(source, "/jobs/?q=a%26b&sort=name&page=3&tag=5.1", page=page))
    links = [attributes["href"] for attributes in tree.all("a")]
    assert links[0] == "?q=a%26b&sort=-name"
    assert "?page=4&q=a%26b&sort=name" in links
    assert not [link for link in links if "tag=" in link]
    assert tree.all("th", **{"aria-sort": "ascending"})
    assert len(tree.all("a", **{"aria-current": "page"})) == 1


@pytest.mark.parametrize(
    ("parameters", "trigger"), [("busy=True", "every 3s"), ("", "every 15s"), ("busy=True final=True", None)]
)
def test_live_parts_poll_only_as_long_as_something_can_change(parameters: str, trigger: str | None) -> None:
    shown = show("{% live 'x' '/x?q=1&tag=1.0' tag='7.45' " + parameters + " %}{% endlive %}")
    section = Tree(shown).all("section")[0]
    assert section.get("hx-trigger") == trigger
    assert section.get("hx-get") == (trigger and "/x?q=1&tag=7.45")


def test_work_of_unknown_length_has_no_percentage() -> None:
    assert "value" not in Tree(show("{% progress stage='Building' %}")).all("progress")[0]
    known = show("{% progress 641728512 1073741824 unit='bytes' rate=89000000 stage='Copying' %}")
    assert Tree(known).all("progress")[0]["value"] == "59"
    assert "612 MiB of 1.00 GiB · 84.9 MiB/s · 59%" in known


# The shell


@pytest.mark.django_db
def test_the_navigation_shows_only_what_there_is_in_the_documented_order(client: Client, owner: Any) -> None:
    client.force_login(owner)
    page = client.get("/jobs/").content.decode()
    nav = page[page.index('<nav class="sidenav"') :]
    nav = nav[: nav.index("</nav>")]
    assert nav.index("Overview") < nav.index("Jobs")
    assert "Edge Services" not in nav
    assert Tree(nav + "</nav>").all("a", href="/jobs/")[0]["aria-current"] == "page"
    assert "aria-current" not in Tree(nav + "</nav>").all("a", href="/")[0]


def test_strangers_see_no_navigation(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    assert shell(request)["navigation"] == []


@pytest.mark.parametrize(
    ("cookie", "theme"), [("dark", "dark"), ("light", "light"), ("'><b>", "auto"), (None, "auto")]
)
def test_the_colour_scheme_is_one_that_exists(rf: RequestFactory, cookie: str | None, theme: str) -> None:
    request = rf.get("/")
    if cookie:
        request.COOKIES["slipway_theme"] = cookie
    assert shell(request)["theme"] == theme


@pytest.mark.django_db
def test_the_language_is_offered_in_its_own_words_and_kept(client: Client) -> None:
    assert "简体中文" in client.get("/sign-in/").content.decode()
    answer = client.post("/language/", {"language": "zh-hans", "next": "/sign-in/"}, follow=True)
    assert '<html lang="zh-hans"' in answer.content.decode()
    assert "English" in answer.content.decode()


@pytest.mark.parametrize("name", ["400", "403", "404", "500", "csrf_failure"])
def test_error_pages_need_no_context(name: str) -> None:
    page = render_to_string(f"{name}.html")
    assert Tree(page).faults == []
    assert 'href="/"' in page


def test_our_own_error_tells_its_number() -> None:
    assert "4f2a9c31" in render_to_string("500.html", {"error_id": "4f2a9c31"})
    assert "Error number" not in render_to_string("500.html")


def test_static_files_survive_hashed_names(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": backend}}
    call_command("collectstatic", interactive=False, verbosity=0)
    sheet = next((tmp_path / "console").glob("console.*.css")).read_text(encoding="utf-8")
    assert re.search(
        r'@import url\("\.\./vendor/tabler-1\.6\.1/tabler\.min\.\w{12}\.css"\) layer\(vendor\)', sheet
    )
