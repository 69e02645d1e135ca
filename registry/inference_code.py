"""Checks customize_service.py (facts §2.9) by reading it: the code is parsed, never imported or run."""

from __future__ import annotations

import ast
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

from console.problems import Problem
from registry.engines import CATALOGUE, PYTHON, Engine
from registry.strict_json import shown_key

CODE_BYTES = 256 * 1024

_STAGES = ("_preprocess", "_inference", "_postprocess")
_BLOCKS = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.ExceptHandler)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def check_inference_code(source: str | bytes, engine: Engine | str) -> list[Problem]:
    """What is wrong with the inference code `source` for `engine` (or its name); never raises.

    The code must be valid Python with exactly one class derived from the engine's base class, which is
    imported from the documented path in any spelling; classes that only serve as parents of it are not
    counted. Documented overrides must be there and take the documented arguments.
    """
    if isinstance(engine, str):
        engine = CATALOGUE[engine]
    if not engine.base_class:
        return [_problem("code_not_supported", engine=engine.name)]
    try:
        source = source.encode() if isinstance(source, str) else source
    except UnicodeEncodeError as error:
        return [_problem("code_not_utf8", detail=error.reason)]
    if len(source) > CODE_BYTES:
        return [_problem("code_too_large", size=len(source), limit=CODE_BYTES)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about a stranger's escapes are not for our log
            tree = ast.parse(source, "customize_service.py")
        return list(_faults(tree, engine))
    except SyntaxError as error:
        if error.lineno is None:  # bytes that no encoding explains
            return [_problem("code_not_utf8", detail=_words(error))]
        return [_problem("code_not_python", line=error.lineno, detail=_words(error), python=PYTHON)]
    except (RecursionError, MemoryError):
        return [_problem("code_too_complex")]
    except ValueError as error:  # NUL bytes, in some releases of Python
        return [_problem("code_not_utf8", detail=_words(error))]


def _faults(tree: ast.Module, engine: Engine) -> Iterator[Problem]:
    facts = {"base": engine.base_class, "import_path": engine.import_path}
    classes = {node.name: node for node in _module_level(tree) if isinstance(node, ast.ClassDef)}
    parents = _parents(tree, classes)
    base = f"{engine.import_path}.{engine.base_class}"
    derived = _derived(parents, base)
    served = derived - {parent for name in derived for parent in parents[name]}
    if not served:
        yield _problem("code_class_missing", **facts)
        return
    if len(served) > 1:
        names = ", ".join(shown_key(name) for name in sorted(served))
        yield _problem("code_class_more_than_one", base=engine.base_class, names=names)
        return
    name = next(iter(served))
    line = [name, *(ancestor for ancestor in _ancestors(name, parents) if ancestor in classes)]
    methods = [_methods(classes[each]) for each in line]
    for method in engine.overrides:
        if not any(method in each for each in methods):
            yield _problem("code_override_missing", name=shown_key(name), method=method, engine=engine.name)
    for owner, each in zip(line, methods, strict=True):
        for method, function in each.items():
            expected = engine.constructor if method == "__init__" else ("data",)
            # Code in the field gives classic engines both forms of __init__; the model server calls either.
            counts = {len(expected), 2} if method == "__init__" else {1}
            if not any(_takes(function, count) for count in counts):
                arguments = ", ".join(("self", *expected))
                yield _problem(
                    "code_signature",
                    name=shown_key(owner), method=method, line=function.lineno, expected=arguments,
                )  # fmt: skip


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run on import: also those inside `if`, `try` and `with`, none inside functions."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, _BLOCKS):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _parents(tree: ast.Module, classes: dict[str, ast.ClassDef]) -> dict[str, list[str]]:
    """For each class the names of its bases: a class of this module, or the full dotted name."""
    meaning: dict[str, str] = {}
    stars: list[str] = []
    for node in _module_level(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                meaning[local] = alias.name if alias.asname else local
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                if alias.name == "*":
                    stars.append(node.module or "")
                else:
                    meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    known = {
        f"{engine.import_path}.{engine.base_class}" for engine in CATALOGUE.values() if engine.base_class
    }
    parents: dict[str, list[str]] = {}
    for name, node in classes.items():
        parents[name] = []
        for base in node.bases:
            dotted = _dotted(base)
            if dotted in classes:
                parents[name].append(dotted)
                continue
            head, mark, rest = dotted.partition(".")
            full = meaning.get(head, head) + mark + rest
            starred = next((f"{star}.{dotted}" for star in stars if f"{star}.{dotted}" in known), None)
            parents[name].append(full if head in meaning else starred or full)
    return parents


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def _derived(parents: dict[str, list[str]], base: str) -> set[str]:
    """The classes that lead to `base`, directly or through others; time grows with the input only."""
    children: dict[str, list[str]] = {}
    for name, bases in parents.items():
        for parent in bases:
            children.setdefault(parent, []).append(name)
    found: set[str] = set()
    waiting = [base]
    while waiting:
        fresh = [child for child in children.get(waiting.pop(), ()) if child not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return found


def _ancestors(name: str, parents: dict[str, list[str]]) -> list[str]:
    """Every name that `name` derives from, nearest first; a circle, which Python would refuse, ends it."""
    found = {name: None}
    waiting = deque(parents.get(name, ()))
    while waiting:
        each = waiting.popleft()
        if each not in found:
            found[each] = None
            waiting.extend(parents.get(each, ()))
    return list(found)[1:]


def _methods(node: ast.ClassDef) -> dict[str, _Function]:
    """The documented methods that the class defines itself."""
    wanted = ("__init__", *_STAGES)
    return {n.name: n for n in node.body if isinstance(n, _Function) and n.name in wanted}


def _takes(function: _Function, count: int) -> bool:
    """Whether a call with `count` positional arguments after self fits; decorated methods are trusted."""
    if function.decorator_list:
        return True
    spec = function.args
    most = len(spec.posonlyargs) + len(spec.args) - 1
    least = most - len(spec.defaults)
    keywords_needed = any(default is None for default in spec.kw_defaults)
    return least <= count and (count <= most or spec.vararg is not None) and not keywords_needed


def _words(error: Exception) -> str:
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    text = words.encode("utf-8", "backslashreplace").decode().replace("\0", "")
    return text if len(text) <= 200 else text[:199] + "…"


def _problem(reason: str, **params: Any) -> Problem:
    return Problem(f"registry.package.{reason}", params)
