"""Hostile and broken paths never get past the listing (lessons §3.3 class 1)."""

from __future__ import annotations

import posixpath
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.listing import check_paths, without_folder_markers


def reasons(*paths: str) -> list[str]:
    return [p.code.removeprefix("registry.package.") for p in check_paths(dict.fromkeys(paths, 1))]


@pytest.mark.parametrize(
    "path",
    ["model/a.onnx", "模型/数据 1.m", "a", "..a/b..", "model/.hidden", "a/" * 50 + "b", "model/a:b", "é"],
)
def test_a_plain_relative_path_is_accepted(path: str) -> None:
    assert reasons(path) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "path_absolute"),
        ("C:/Windows", "path_absolute"),
        ("c:x", "path_absolute"),
        ("//host/share", "path_absolute"),
        ("../up", "path_climbs"),
        ("model/../../up", "path_climbs"),
        ("model/..", "path_climbs"),
        ("./model/a", "path_climbs"),
        ("model/./a", "path_climbs"),
        ("model//a", "path_climbs"),
        ("model/a/", "path_climbs"),
        ("", "path_climbs"),
        ("model\\..\\up", "path_characters"),
        ("model/a\x00.onnx", "path_characters"),
        ("model/a\n", "path_characters"),
        ("model/\x7f", "path_characters"),
        ("model/\x9b31m", "path_characters"),
        ("model/\u202egnp.m", "path_characters"),
        ("model/\u2028x", "path_characters"),
        ("model/\udc80", "path_characters"),
        ("model/" + "a" * 256, "path_too_long"),
        ("模" * 86, "path_too_long"),
        ("a/" * 512 + "b", "path_too_long"),
    ],
)
def test_a_hostile_path_is_refused(path: str, reason: str) -> None:
    assert reasons(path) == [reason]


def test_two_spellings_of_one_file_are_refused() -> None:
    composed, decomposed = "model/é.m", unicodedata.normalize("NFD", "model/é.m")
    assert composed != decomposed
    assert reasons(composed, decomposed) == ["path_duplicate"]
    assert reasons("model/a.m", "model/A.m") == []


def test_a_file_that_is_also_a_folder_is_refused() -> None:
    assert reasons("model/a", "model/a/b") == ["path_conflict"]
    assert reasons("model/a/b/c", "model/a/b") == ["path_conflict"]
    assert reasons("model/a", "model/ab") == []


def test_folder_markers_of_object_storage_are_no_files() -> None:
    listing = {"model/": 0, "model/sub/": 0, "model/a.onnx": 5, "model/full/": 3}
    assert without_folder_markers(listing) == {"model/a.onnx": 5, "model/full/": 3}


pieces = st.sampled_from(
    ["model", "a", "..", ".", "", "\\", "\x00", "%2e%2e", "é", "e\u0301", "\u202e", " ", "a:"]
)
paths = st.lists(pieces, min_size=1, max_size=5).map("/".join) | st.text(max_size=30)


@settings(deadline=None)
@given(st.lists(paths, max_size=6, unique=True))
def test_what_is_accepted_stays_below_its_folder_and_is_one_file_each(found: list[str]) -> None:
    if check_paths(dict.fromkeys(found, 1)):
        return
    resolved = [posixpath.normpath(posixpath.join("/safe/folder", path)) for path in found]
    assert all(path.startswith("/safe/folder/") for path in resolved)
    assert len({unicodedata.normalize("NFC", path) for path in resolved}) == len(found)
    assert not {str(parent) for path in resolved for parent in PurePosixPath(path).parents} & set(resolved)
    for path in found:
        assert path.isprintable() or not path.isascii()
        path.encode()
