"""Both languages are whole: nothing missing, fuzzy, stale, or robbed of its placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from django.conf import settings

from console import messages


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_catalogue_is_whole(language: str) -> None:
    assert messages.faults(settings.BASE_DIR, language) == []


def test_strings_are_found_in_code_and_templates(tmp_path: Path) -> None:
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "a.py").write_text(
        'x = _("One")\ny = pgettext("noun", "Deploy")\nngettext("%(n)s day", "%(n)s days", 2)\n'
    )
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.html").write_text(
        "<p>\n   {% translate 'Two' %}\n {% blocktranslate trimmed %}Three\n  lines{% endblocktranslate %}</p>"
        "{% blocktranslate count n=3 %}one{% plural %}{{ n }} many{% endblocktranslate %}"
    )
    found = messages.extract(tmp_path)
    assert found.get("One") and found.get("Two") and found.get("Three lines")
    assert found.get("Deploy", "noun") and found.get(("%(n)s day", "%(n)s days"))
    assert found.get(("one", "%(n)s many"))


def test_faults_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "a.py").write_text('_("Said %(who)s")\n_("Unsaid")\n')
    monkeypatch.setattr(messages, "catalogue_path", lambda language, suffix="po": tmp_path / f"x.{suffix}")
    catalogue = Catalog(locale="zh_Hans")
    catalogue.add("Said %(who)s", "说", flags=["python-format"])
    catalogue.add("Gone", "走了")
    messages.write(catalogue, "zh_Hans")
    wrong = " | ".join(messages.faults(tmp_path, "zh_Hans"))
    assert "missing: 'Unsaid'" in wrong and "stale: 'Gone'" in wrong and "placeholders differ (说)" in wrong
