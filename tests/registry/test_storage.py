"""Artifacts: whole files with true digests or nothing, on a folder and on a real S3 server alike."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.problems import ProblemError
from registry import artifact_files, storage
from registry.doors import Stopped
from registry.storage import StoredFile
from tests.registry.s3 import ACCESS_KEY, SECRET_KEY, S3Server, serve_s3

PREFIX = "versions/0b1e6c1e-0000-4000-8000-000000000001"
MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with serve_s3(tmp_path_factory.mktemp("artifacts 空间")) as server:
        (server.folder / "artifacts").mkdir()
        yield server


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, so that a few MiB already make a multipart upload."""
    monkeypatch.setattr("registry.artifact_objects.PART_BYTES", 5 * MIB)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.live)])
def place(request: pytest.FixtureRequest, tmp_path: Path, settings) -> Path:
    """The folder where the artifacts end up."""
    settings.SLIPWAY_VAR = tmp_path / "var 变"
    settings.SLIPWAY_DISK_FLOOR_BYTES = 1 * MIB
    if request.param == "folder":
        use_folder(settings)
        return tmp_path / "var 变" / "artifacts"
    server: S3Server = request.getfixturevalue("s3")
    location = f"t{random.randrange(10**9)}"
    settings.STORAGES = settings.STORAGES | {
        "artifacts": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": "artifacts",
                "location": location,
                "endpoint_url": server.endpoint,
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
                "region_name": "us-east-1",
                "addressing_style": "path",
                "signature_version": "s3v4",
            },
        }
    }
    return server.folder / "artifacts" / location


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    """The folder of artifacts kept on file storage."""
    settings.SLIPWAY_VAR = tmp_path / "var 变"
    settings.SLIPWAY_DISK_FLOOR_BYTES = 1 * MIB
    use_folder(settings)
    return tmp_path / "var 变" / "artifacts"


def use_folder(settings) -> None:
    settings.STORAGES = settings.STORAGES | {
        "artifacts": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": settings.SLIPWAY_VAR / "artifacts"},
        }
    }


@dataclass(frozen=True)
class Given:
    """A source that holds its content."""

    content: bytes
    fingerprint: str = "f"

    @property
    def size(self) -> int:
        return len(self.content)


class Streams:
    """Opens sources, notes what was asked for, and can break off after so many bytes."""

    def __init__(self, break_after: int | None = None) -> None:
        self.opened: list[int] = []
        self.given = 0
        self.break_after = break_after

    def __call__(self, source: Given, offset: int) -> Iterator[bytes]:
        self.opened.append(offset)
        for start in range(offset, source.size, MIB):
            if self.break_after is not None and self.given >= self.break_after:
                raise ProblemError(
                    "registry.source.truncated", bucket="b", path="p", size=source.size, got=start
                )
            chunk = source.content[start : start + MIB]
            self.given += len(chunk)
            yield chunk


def package(**more: bytes) -> dict[str, Given]:
    files = {"model/config.json": b"{}", "model/empty": b"", "model/子/a b.bin": os.urandom(3 * MIB + 17)}
    return {path: Given(content) for path, content in (files | more).items()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files_in(place: Path) -> set[str]:
    """Everything that lies below `place` and the folders of half-made things."""
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as raised:
        action()
    return raised.value.problem.code


def test_files_arrive_whole_with_their_true_digests(place: Path) -> None:
    sources = package()
    told: list[StoredFile] = []
    progress: list[int] = []
    stored = storage.copy_in(
        PREFIX, sources, Streams(), on_file=told.append, on_progress=progress.append
    )  # fmt: skip
    assert stored == sorted(told, key=lambda file: file.path)
    assert {file.path: (file.size, file.sha256) for file in stored} == {
        path: (source.size, digest(source.content)) for path, source in sources.items()
    }
    assert sum(progress) == sum(source.size for source in sources.values())
    for path, source in sources.items():
        assert (place / PREFIX / path).read_bytes() == source.content
    assert files_in(place) == {f"{PREFIX}/{path}" for path in sources}


def test_what_was_stored_can_be_read_verified_and_run_from_a_local_folder(place: Path, settings) -> None:
    sources = package()
    stored = storage.copy_in(PREFIX, sources, Streams())
    assert storage.read(PREFIX, "model/config.json", 100) == b"{}"
    assert storage.verify(PREFIX, stored) == []
    local = storage.materialize(PREFIX, stored)
    for path, source in sources.items():
        assert (local / path).read_bytes() == source.content
        assert (local / path).stat().st_mode & 0o777 == 0o400
    assert storage.materialize(PREFIX, stored) == local
    on_disk = settings.STORAGES["artifacts"]["BACKEND"].endswith("FileSystemStorage")
    assert (local == place / PREFIX) == on_disk, "a stored folder is run as it is: no copy"


def test_reading_is_bounded_and_tells_what_is_not_there(place: Path) -> None:
    storage.copy_in(PREFIX, package(), Streams())
    assert code_of(lambda: storage.read(PREFIX, "model/子/a b.bin", 1000)) == "registry.source.too_large"
    with pytest.raises(FileNotFoundError):
        storage.read(PREFIX, "model/nothing", 100)


def test_verify_names_what_is_missing_changed_and_unexpected(place: Path) -> None:
    stored = storage.copy_in(PREFIX, package(), Streams())
    top = place / PREFIX / "model"
    (top / "empty").unlink()
    os.chmod(top / "config.json", 0o600)
    (top / "config.json").write_bytes(b"[]")
    (top / "extra").write_bytes(b"x")
    found = {(mismatch.path, mismatch.kind) for mismatch in storage.verify(PREFIX, stored)}
    assert found == {
        ("model/empty", "missing"),
        ("model/config.json", "changed"),
        ("model/extra", "unexpected"),
    }


def test_files_that_are_done_are_not_copied_again(place: Path) -> None:
    sources = package()
    first = storage.copy_in(PREFIX, sources, Streams())
    streams, progress = Streams(), []
    again = storage.copy_in(
        PREFIX, sources, streams, done={file.path: file for file in first}, on_progress=progress.append
    )
    assert again == first
    assert streams.opened == [] and progress == []


def test_a_file_that_was_stored_but_not_noted_is_stored_again(place: Path) -> None:
    storage.copy_in(PREFIX, package(), Streams())
    fresh = {"model/config.json": Given(b"[1]", "newer")}
    assert storage.copy_in(PREFIX, fresh, Streams())[0].sha256 == digest(b"[1]")
    assert (place / PREFIX / "model/config.json").read_bytes() == b"[1]"


@pytest.mark.parametrize("stops", [1, 3])
def test_a_large_file_goes_on_where_it_was_stopped(place: Path, stops: int, monkeypatch) -> None:
    monkeypatch.setattr("registry.artifact_transfer.PROGRESS_SECONDS", 0)
    source = Given(os.urandom(22 * MIB + 5))
    for stop in range(stops):
        seen: list[int] = []
        with pytest.raises(Stopped):
            storage.copy_in(
                PREFIX, {"model/big": source}, Streams(),
                on_progress=seen.append, should_stop=lambda seen=seen, n=stop: sum(seen) > (n + 1) * 6 * MIB,
            )  # fmt: skip
        assert f"{PREFIX}/model/big" not in files_in(place)
    streams, progress = Streams(), []
    stored = storage.copy_in(PREFIX, {"model/big": source}, streams, on_progress=progress.append)
    assert stored == [StoredFile("model/big", source.size, digest(source.content))]
    assert (place / PREFIX / "model/big").read_bytes() == source.content
    assert sum(progress) == source.size
    assert storage.verify(PREFIX, stored) == []
    if "var" in place.parts[-2]:
        assert streams.opened[0] > 6 * MIB


def test_a_source_that_breaks_off_leaves_no_file_and_is_continued(folder: Path) -> None:
    source = Given(os.urandom(8 * MIB))
    broken = Streams(break_after=5 * MIB)
    assert code_of(lambda: storage.copy_in(PREFIX, {"a": source}, broken)) == "registry.source.truncated"
    assert not (folder / PREFIX / "a").exists()
    streams = Streams()
    assert storage.copy_in(PREFIX, {"a": source}, streams)[0].sha256 == digest(source.content)
    assert streams.opened == [5 * MIB]


def test_a_part_of_older_content_is_never_continued(folder: Path) -> None:
    old, new = Given(os.urandom(4 * MIB), "old"), Given(os.urandom(4 * MIB), "new")
    code_of(lambda: storage.copy_in(PREFIX, {"a": old}, Streams(break_after=2 * MIB)))
    streams = Streams()
    assert storage.copy_in(PREFIX, {"a": new}, streams)[0].sha256 == digest(new.content)
    assert streams.opened == [0]
    storage.remove(PREFIX)
    assert files_in(folder) == set()


def test_a_source_that_gives_fewer_bytes_than_it_listed_is_refused(place: Path) -> None:
    @dataclass(frozen=True)
    class Short(Given):
        @property
        def size(self) -> int:
            return len(self.content) + 10

    for content in (b"few", os.urandom(7 * MIB)):
        source = Short(content)
        assert (
            code_of(
                lambda source=source: storage.copy_in(
                    PREFIX, {"a": source}, lambda s, o: iter([s.content[o:]])
                )
            )
            == "registry.source.truncated"
        )
        storage.remove(PREFIX)
        assert files_in(place) == set()


def test_a_source_that_never_ends_is_refused(place: Path) -> None:
    def endless(source: Given, offset: int) -> Iterator[bytes]:
        while True:
            yield b"x" * MIB

    sources = {"a": Given(b"x" * MIB)}
    assert code_of(lambda: storage.copy_in(PREFIX, sources, endless)) == "registry.source.too_large"
    storage.remove(PREFIX)
    assert files_in(place) == set()


def test_limits_are_asked_before_a_byte_is_copied(place: Path) -> None:
    sources, streams = package(), Streams()
    copy = lambda **limits: lambda: storage.copy_in(PREFIX, sources, streams, **limits)  # noqa: E731
    assert code_of(copy(max_bytes=100)) == "registry.source.too_large"
    assert code_of(copy(quota_free=100)) == "registry.storage.quota"
    assert streams.opened == []
    assert not (place / PREFIX).exists()


def test_a_disk_without_room_refuses_before_the_copy(folder: Path, settings) -> None:
    settings.SLIPWAY_DISK_FLOOR_BYTES = 1 << 60
    streams = Streams()
    assert code_of(lambda: storage.copy_in(PREFIX, package(), streams)) == "registry.storage.full"
    assert streams.opened == []


def test_a_disk_that_fills_during_the_copy_ends_it(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("registry.artifact_transfer.DISK_CHECK_BYTES", 2 * MIB)
    room = iter([100 * MIB, 50 * MIB, -1])
    monkeypatch.setattr(storage, "free_bytes", lambda: next(room))
    sources = {"a": Given(os.urandom(10 * MIB))}
    assert code_of(lambda: storage.copy_in(PREFIX, sources, Streams())) == "registry.storage.full"
    storage.remove(PREFIX)
    assert files_in(folder) == set()


def test_a_write_that_the_disk_refuses_is_told_as_a_full_disk(folder: Path, monkeypatch) -> None:
    def refuse(fd: int, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact_files, "_write", refuse)
    assert code_of(lambda: storage.copy_in(PREFIX, package(), Streams())) == "registry.storage.full"
    storage.remove(PREFIX)
    assert files_in(folder) == set()


@pytest.mark.parametrize("evil", ["../x", "/etc/x", "a//b", "a\\b", "a\0b", "", ".", "a/.."])
def test_evil_paths_never_reach_the_disk(place: Path, evil: str) -> None:
    sources = {evil: Given(b"x")}
    assert code_of(lambda: storage.copy_in(PREFIX, sources, Streams())) == "registry.source.illegal_name"
    assert code_of(lambda: storage.copy_in(evil, package(), Streams())) == "registry.source.illegal_name"
    assert code_of(lambda: storage.remove(evil)) == "registry.source.illegal_name"


def test_a_name_that_is_file_and_folder_at_once_is_refused(place: Path) -> None:
    sources = {"model/a": Given(b"1"), "model/a/b": Given(b"2")}
    assert code_of(lambda: storage.copy_in(PREFIX, sources, Streams())) == "registry.source.illegal_name"


def test_removing_leaves_nothing_and_may_be_repeated(place: Path, tmp_path: Path) -> None:
    other = PREFIX[:-1] + "2"
    stored = storage.copy_in(PREFIX, package(), Streams())
    storage.materialize(PREFIX, stored)
    storage.copy_in(other, package(), Streams())
    with pytest.raises(Stopped):
        storage.copy_in(PREFIX, {"b": Given(b"1")}, Streams(), should_stop=lambda: True)
    storage.remove(PREFIX)
    storage.remove(PREFIX)
    assert all(path.startswith(other) for path in files_in(place))
    left = [path for path in (tmp_path / "var 变").rglob("*") if PREFIX.split("/")[1] in str(path)]
    assert left == []


def test_a_sweep_removes_leftovers_but_not_what_is_being_imported(folder: Path) -> None:
    other = PREFIX[:-1] + "2"
    for prefix in (PREFIX, other):
        source = {"a": Given(os.urandom(4 * MIB))}
        code_of(lambda p=prefix, s=source: storage.copy_in(p, s, Streams(break_after=2 * MIB)))
    assert len(files_in(folder)) == 2
    storage.sweep_incoming(lambda prefix: prefix == other)
    assert len(files_in(folder)) == 1 and other.split("/")[1] in next(iter(files_in(folder)))


def test_what_progress_raises_ends_the_copy_and_stops_its_threads(place: Path, monkeypatch) -> None:
    class LeaseLost(Exception):
        pass

    def lost(delta: int) -> None:
        raise LeaseLost

    monkeypatch.setattr("registry.artifact_transfer.PROGRESS_SECONDS", 0)
    before = threading.active_count()
    with pytest.raises(LeaseLost):
        storage.copy_in(PREFIX, {"a": Given(os.urandom(12 * MIB))}, Streams(), on_progress=lost)
    assert threading.active_count() <= before
    storage.remove(PREFIX)
    assert files_in(place) == set()


def test_a_damaged_object_is_not_run(place: Path) -> None:
    stored = storage.copy_in(PREFIX, package(), Streams())
    path = place / PREFIX / "model/config.json"
    os.chmod(path, 0o600)
    path.write_bytes(b"{} ")
    assert code_of(lambda: storage.materialize(PREFIX, stored)) == "registry.storage.damaged"


def test_two_machines_ask_for_the_same_folder_at_once(place: Path) -> None:
    stored = storage.copy_in(PREFIX, package(), Streams())
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(storage.materialize(PREFIX, stored))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_an_s3_service_that_is_away_is_named_so(tmp_path: Path, settings) -> None:
    settings.SLIPWAY_VAR = tmp_path
    options = {"bucket_name": "b", "endpoint_url": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"}
    settings.STORAGES = settings.STORAGES | {
        "artifacts": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    }
    sources = {"a": Given(b"1")}
    assert code_of(lambda: storage.copy_in(PREFIX, sources, Streams())) == "registry.storage.unreachable"


def test_the_quota_counts_what_is_stored(settings) -> None:
    settings.SLIPWAY_ARTIFACT_QUOTA_BYTES = 1000
    assert storage.quota_free(400) == 600
    settings.SLIPWAY_ARTIFACT_QUOTA_BYTES = 0
    assert storage.quota_free(400) is None


NAMES = st.text(alphabet='ab/é\n\t "[],\\', min_size=1, max_size=8)
FILES = st.lists(st.builds(StoredFile, NAMES, st.integers(0, 9), st.sampled_from(["aa", "bb"])), max_size=4)


@given(FILES, FILES, st.randoms())
def test_one_digest_stands_for_exactly_one_set_of_files(
    one: list[StoredFile], two: list[StoredFile], chance: random.Random
) -> None:
    shuffled = chance.sample(one, len(one))
    assert storage.manifest_digest(shuffled) == storage.manifest_digest(one)
    key = lambda files: sorted((file.path, file.size, file.sha256) for file in files)  # noqa: E731
    assert (storage.manifest_digest(one) == storage.manifest_digest(two)) == (key(one) == key(two))


def test_memory_stays_flat_however_large_the_file_is(folder: Path) -> None:
    """Resident memory grows by a few chunks, not with the file."""
    statm = Path("/proc/self/statm")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    chunk = os.urandom(MIB)

    @dataclass(frozen=True)
    class Large:
        size: int = 200 * MIB
        fingerprint: str = "f"

    most = resident()
    before = most

    def stream(source: Large, offset: int) -> Iterator[bytes]:
        nonlocal most
        for _ in range(200):
            most = max(most, resident())
            yield bytes(chunk)

    storage.copy_in(PREFIX, {"a": Large()}, stream)
    storage.remove(PREFIX)
    assert most - before < 40 * MIB


def test_removal_is_not_stopped_by_closed_folders_or_links(folder: Path, tmp_path: Path) -> None:
    storage.copy_in(PREFIX, package(), Streams())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (folder / PREFIX / "link").symlink_to(outside)
    os.chmod(folder / PREFIX / "model", 0o500)
    storage.remove(PREFIX)
    assert files_in(folder) == set()
    assert (outside / "kept").exists()
    shutil.rmtree(outside)
