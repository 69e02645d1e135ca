"""The catalogues of translations: extracted, merged and compiled with Babel, so that no system tool is needed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

PACKAGES = ("console", "registry", "deployments")
APART = ("deployments/predictor",)  # knows no Django and speaks to programs, in English
KEYWORDS: dict[str, tuple | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
LANGUAGES = ("zh_Hans",)
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
GLOSSARY = """\
# Slipway in Simplified Chinese. Glossary of the documented terms:
#   model 模型 · version 版本 · label 标签 · description 描述 · import 导入 · deploy 部署
#   meta model source 元模型来源 · deployment type 部署类型 · AI engine AI引擎
#   parameter configuration 参数配置 · runtime dependency 运行时依赖 · model precision 模型精度
#   real-time service 在线服务 · batch service 批量服务 · edge service 边缘服务 · instance 实例
#   traffic ratio 分流 · compute node specification 计算节点规格 · compute nodes 计算节点个数
#   environment variable 环境变量 · resource pool 资源池 · usage guides 调用指南 · prediction 预测
#   configuration updates 配置更新记录 · events 事件 · logs 日志 · Normal 正常 · Abnormal 异常
#   Running 运行中 · Deploying 部署中 · Stopped 停止 · Alarm 告警 · Create Now 立即创建 · Next 下一步"""


def catalogue_path(language: str, suffix: str = "po") -> Path:
    """Where the catalogue of `language` is kept."""
    return Path(settings.LOCALE_PATHS[0]) / language / "LC_MESSAGES" / f"django.{suffix}"


def _sources(base: Path) -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((base / package).rglob("*.py")):
            where = path.relative_to(base).as_posix()
            if not where.startswith(APART) and "/migrations/" not in where:
                yield path, path.read_text(encoding="utf-8")
    for path in sorted((base / "templates").rglob("*.html")):
        text = templatize(path.read_text(encoding="utf-8"), origin=str(path))
        # What is left of the markup is indented at will, which is no matter for the calls in it.
        yield path, "\n".join(line.strip() for line in text.splitlines())


def extract(base: Path) -> Catalog:
    """Every translatable string of the packages and templates under `base`."""
    found = Catalog()
    for path, text in _sources(base):
        where = path.relative_to(base).as_posix()
        calls = extract_python(io.BytesIO(text.encode()), KEYWORDS, [], {"encoding": "utf-8"})
        for _line, function, arguments, _comments in calls:
            shape = KEYWORDS[function] or (1,)
            values = arguments if isinstance(arguments, tuple) else (arguments,)
            context = next((values[part[0] - 1] for part in shape if isinstance(part, tuple)), None)
            texts = [values[part - 1] for part in shape if isinstance(part, int)]
            if texts and all(texts):
                key = tuple(texts) if len(texts) > 1 else texts[0]
                found.add(key, locations=[(where, 0)], context=context)
    return found


def load(language: str) -> Catalog:
    """The committed catalogue of `language`; an empty one, headed by the glossary, when there is none."""
    path = catalogue_path(language)
    if not path.exists():
        return Catalog(locale=language, project="Slipway", header_comment=GLOSSARY, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def write(catalogue: Catalog, language: str) -> None:
    """Write the `.po` and the `.mo` of `language`."""
    path = catalogue_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Dates would make every refresh a change.
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    with path.open("wb") as file:
        write_po(file, catalogue, width=0, no_location=True, sort_output=True, ignore_obsolete=True)
    with catalogue_path(language, "mo").open("wb") as file:
        write_mo(file, load(language))


def update(base: Path, language: str) -> Catalog:
    """Merge what is extracted into the catalogue of `language`; strings that are gone are dropped."""
    kept = load(language)
    kept.update(extract(base), no_fuzzy_matching=True, update_header_comment=False)
    kept.obsolete.clear()
    return kept


def faults(base: Path, language: str) -> list[str]:
    """What is wrong with the committed catalogue: missing, fuzzy or stale strings, lost placeholders."""
    found, kept = extract(base), load(language)
    wrong: list[str] = []
    for message in found:
        if not message.id:
            continue
        known = kept.get(message.id, message.context)
        if known is None or not _is_translated(known):
            wrong.append(f"missing: {message.id!r}")
        elif known.fuzzy:
            wrong.append(f"fuzzy: {message.id!r}")
        else:
            wrong += [f"{fault}: {message.id!r}" for fault in _lost(known)]
    for message in kept:
        if message.id and found.get(message.id, message.context) is None:
            wrong.append(f"stale: {message.id!r}")
    compiled = io.BytesIO()
    write_mo(compiled, kept)
    path = catalogue_path(language, "mo")
    if not path.exists() or path.read_bytes() != compiled.getvalue():
        wrong.append("the .mo file does not match the .po file")
    return wrong


def _is_translated(message: Message) -> bool:
    return all(message.string) if isinstance(message.string, (tuple, list)) else bool(message.string)


def _lost(message: Message) -> list[str]:
    """A translation must carry the placeholders of its original, each at least once, and no others."""
    originals = message.id if isinstance(message.id, (tuple, list)) else (message.id,)
    strings = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
    wanted = set(PLACEHOLDER.findall(originals[-1]))
    return [
        f"placeholders differ ({string})" for string in strings if set(PLACEHOLDER.findall(string)) != wanted
    ]
