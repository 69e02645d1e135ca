"""Object storage behind one shape: the same promises for a local folder and for a real S3 server."""

from __future__ import annotations

import itertools
import os
import socket
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.problems import ProblemError
from registry.sources.base import check_folder, check_key
from registry.sources.objects import ObjectConnection, ObjectStore, open_connection
from tests.registry.s3 import S3Server, free_port, serve_s3

EVIL = [
    "../secret", "a/../../secret", "/etc/passwd", "a//b", "a/./b", "a\\b", "a\0b", "..", ".", "", "a\nb",
    "x" * 256,
]  # fmt: skip
CHARACTERS = [*string.ascii_letters, "/", ".", "\\", "\0", "%", "2", "é", "\x1f", " "]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with serve_s3(tmp_path_factory.mktemp("s3 空间")) as server:
        yield server


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.live)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.getfixturevalue("s3").folder if kind == "s3" else tmp_path / "root"


@pytest.fixture
def store(kind: str, root: Path, request: pytest.FixtureRequest) -> ObjectStore:
    if kind == "s3":
        return open_connection(request.getfixturevalue("s3").connection())
    return open_connection(ObjectConnection(kind="local", root=root))


@pytest.fixture
def bucket(root: Path, request: pytest.FixtureRequest) -> str:
    """A bucket with a package, a second folder and an object beside them."""
    name = f"b{abs(hash(request.node.name)) % 10**10}"
    for path, content in {
        "resnet/model/config.json": b"{}",
        "resnet/model/resnet.onnx": b"x" * 3_000_000,
        "resnet/model/空 格.txt": "内容".encode(),
        "ocr/model/config.json": b"{}",
        "readme.txt": b"hello",
    }.items():
        write(root / name / path, content)
    return name


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def code_of(action) -> str:
    with pytest.raises(ProblemError) as raised:
        result = action()
        list(result) if hasattr(result, "__iter__") else None
    return raised.value.problem.code.removeprefix("registry.source.")


def test_buckets_are_listed(store: ObjectStore, bucket: str) -> None:
    assert bucket in store.buckets()


def test_browsing_shows_one_level_folders_first_by_their_full_prefix(store: ObjectStore, bucket: str) -> None:
    page = store.browse(bucket)
    assert page.folders == ("ocr/", "resnet/")
    assert [(entry.key, entry.size) for entry in page.objects] == [("readme.txt", 5)]
    inner = store.browse(bucket, "resnet/model")
    assert inner.folders == ()
    assert [entry.name for entry in inner.objects] == ["config.json", "resnet.onnx", "空 格.txt"]


def test_search_keeps_the_names_that_start_with_it(store: ObjectStore, bucket: str) -> None:
    assert store.browse(bucket, search="re").folders == ("resnet/",)
    assert [entry.key for entry in store.browse(bucket, search="re").objects] == ["readme.txt"]


def test_pages_join_to_the_whole_listing_without_gap_or_repeat(
    store: ObjectStore, bucket: str, root: Path
) -> None:
    for number in range(25):
        write(root / bucket / "many" / f"f{number:02}", b"1")
        write(root / bucket / "many" / f"d{number:02}" / "x", b"1")
    seen: list[str] = []
    token, pages = None, 0
    while True:
        page = store.browse(bucket, "many/", page_token=token, limit=7)
        assert len(page.folders) + len(page.objects) <= 7
        seen += [*page.folders, *(entry.key for entry in page.objects)]
        token, pages = page.next_token, pages + 1
        if token is None:
            break
    folders, files = [f"many/d{n:02}/" for n in range(25)], [f"many/f{n:02}" for n in range(25)]
    assert sorted(seen) == folders + files
    assert pages >= 7


def test_a_walk_finds_everything_below_a_folder_and_nothing_beside_it(
    store: ObjectStore, bucket: str, root: Path
) -> None:
    write(root / bucket / "resnet-2" / "model" / "config.json", b"{}")
    found = {entry.key: entry.size for entry in store.walk(bucket, "resnet")}
    assert found == {
        "resnet/model/config.json": 2,
        "resnet/model/resnet.onnx": 3_000_000,
        "resnet/model/空 格.txt": 6,
    }


def test_a_walk_over_too_many_objects_is_refused(store: ObjectStore, bucket: str) -> None:
    assert code_of(lambda: store.walk(bucket, "resnet/", limit=2)) == "too_many"


def test_streams_give_the_exact_content_from_any_offset(store: ObjectStore, bucket: str, root: Path) -> None:
    content = os.urandom(2_500_001)
    write(root / bucket / "big.bin", content)
    (entry,) = [each for each in store.browse(bucket).objects if each.key == "big.bin"]
    assert b"".join(store.stream(bucket, entry)) == content
    assert b"".join(store.stream(bucket, entry, 1_234_567)) == content[1_234_567:]
    assert b"".join(store.stream(bucket, entry, len(content))) == b""


def test_an_empty_object_is_streamed_as_nothing(store: ObjectStore, bucket: str, root: Path) -> None:
    write(root / bucket / "resnet" / "model" / "empty", b"")
    (entry,) = [each for each in store.walk(bucket, "resnet/") if each.name == "empty"]
    assert list(store.stream(bucket, entry)) == []


def test_small_objects_are_read_whole_and_large_ones_refused(store: ObjectStore, bucket: str) -> None:
    assert store.read(bucket, "readme.txt", 5) == b"hello"
    assert code_of(lambda: store.read(bucket, "readme.txt", 4)) == "too_large"


def test_what_is_not_there_is_named_so(store: ObjectStore, bucket: str) -> None:
    assert code_of(lambda: store.read(bucket, "no/such.txt", 10)) == "no_such_path"
    assert code_of(lambda: store.walk(bucket, "nothing/here/")) == "no_such_path"
    assert code_of(lambda: store.browse("nosuchbucket", "")) == "no_such_path"


def test_a_file_that_vanishes_before_its_copy_is_told(store: ObjectStore, bucket: str, root: Path) -> None:
    entry = next(iter(store.walk(bucket, "ocr")))
    (root / bucket / entry.key).unlink()
    assert code_of(lambda: store.stream(bucket, entry)) == "vanished"


@pytest.mark.parametrize("content", [b"{ }", b"", b"[]"])
def test_a_file_that_changed_since_it_was_listed_is_told(
    store: ObjectStore, bucket: str, root: Path, content: bytes
) -> None:
    entry = next(iter(store.walk(bucket, "ocr")))
    path = write(root / bucket / entry.key, content)
    os.utime(path, (1, 1))
    assert code_of(lambda: store.stream(bucket, entry)) == "changed"


@pytest.mark.parametrize("evil", EVIL)
def test_evil_names_are_refused_everywhere(store: ObjectStore, bucket: str, evil: str) -> None:
    assert code_of(lambda: store.read(bucket, evil, 10)) == "illegal_name"
    if evil:
        assert code_of(lambda: store.browse(bucket, evil)) == "illegal_name"
        assert code_of(lambda: store.walk(bucket, evil)) == "illegal_name"
        assert code_of(lambda: store.browse(evil, "")) == "no_such_path"


def test_only_the_allowed_buckets_exist(kind: str, root: Path, bucket: str, request) -> None:
    write(root / "otherbucket" / "x", b"1")
    limits = {"buckets": ("otherbucket",)}
    limited = open_connection(
        request.getfixturevalue("s3").connection(**limits)
        if kind == "s3"
        else ObjectConnection(kind="local", root=root, **limits)
    )
    assert list(limited.buckets()) == ["otherbucket"]
    assert code_of(lambda: limited.read(bucket, "readme.txt", 10)) == "no_such_path"


@given(st.text(alphabet=st.sampled_from(CHARACTERS)))
def test_whatever_is_accepted_as_a_key_stays_below_its_folder(key: str) -> None:
    try:
        check_key(key)
    except ProblemError as error:
        assert error.problem.code == "registry.source.illegal_name"
        return
    base = Path("/base/folder")
    assert os.path.normpath(base / key) == str(base / key)
    assert Path(os.path.normpath(base / key)).is_relative_to(base)
    assert check_folder(key) == f"{key}/"


# --- local folders ------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> tuple[ObjectStore, Path]:
    root = tmp_path / "objects"
    write(root / "b" / "pkg" / "model" / "config.json", b"{}")
    write(tmp_path / "secret.key", b"secret")
    return open_connection(ObjectConnection(kind="local", root=root)), root


def test_a_link_is_neither_shown_nor_read_nor_walked(local: tuple[ObjectStore, Path], tmp_path: Path) -> None:
    store, root = local
    (root / "b" / "pkg" / "model" / "leak").symlink_to(tmp_path / "secret.key")
    (root / "b" / "out").symlink_to(tmp_path)
    assert store.browse("b").folders == ("pkg/",)
    assert code_of(lambda: store.read("b", "pkg/model/leak", 100)) == "not_a_file"
    assert code_of(lambda: store.walk("b", "pkg/")) == "not_a_file"
    assert code_of(lambda: store.browse("b", "out/")) == "not_a_file"
    assert code_of(lambda: store.read("b", "out/secret.key", 100)) == "not_a_file"


def test_a_linked_bucket_is_no_bucket(local: tuple[ObjectStore, Path], tmp_path: Path) -> None:
    store, root = local
    (root / "sneaky").symlink_to(tmp_path)
    assert store.buckets() == ["b"]
    assert code_of(lambda: store.read("sneaky", "secret.key", 100)) == "not_a_file"


def test_a_folder_swapped_for_a_link_while_it_is_read_leads_nowhere(
    local: tuple[ObjectStore, Path], tmp_path: Path
) -> None:
    store, root = local
    write(root / "b" / "pkg" / "secret.key", b"harmless")
    real, link, stop = root / "b" / "pkg", root / "b" / "link", threading.Event()
    link.symlink_to(tmp_path)
    away = root / "b" / "away"

    def swap() -> None:
        while not stop.is_set():
            os.rename(real, away)
            os.rename(link, real)
            os.rename(real, link)
            os.rename(away, real)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read = 0
    try:
        for _ in range(2_000):
            try:
                assert store.read("b", "pkg/secret.key", 100) == b"harmless"
                read += 1
            except ProblemError as error:
                assert error.problem.code in ("registry.source.not_a_file", "registry.source.no_such_path")
    finally:
        stop.set()
        swapper.join()
    assert read


def test_pipes_sockets_and_folders_are_no_files(local: tuple[ObjectStore, Path]) -> None:
    store, root = local
    os.mkfifo(root / "b" / "pkg" / "model" / "pipe")
    assert code_of(lambda: store.read("b", "pkg/model/pipe", 100)) == "not_a_file"
    assert code_of(lambda: store.walk("b", "pkg/")) == "not_a_file"
    assert code_of(lambda: store.read("b", "pkg/model", 100)) == "no_such_path"
    assert store.browse("b", "pkg/model/").objects[0].name == "config.json"


def test_a_file_that_shrinks_while_it_is_streamed_is_truncated(local: tuple[ObjectStore, Path]) -> None:
    store, root = local
    path = write(root / "b" / "big", b"x" * 5_000_000)
    entry = store.browse("b").objects[0]
    stream = store.stream("b", entry)
    next(stream)
    os.truncate(path, 1_500_000)
    assert code_of(lambda: stream) == "truncated"


def test_a_file_that_grows_while_it_is_streamed_has_changed(local: tuple[ObjectStore, Path]) -> None:
    store, root = local
    path = write(root / "b" / "big", b"x" * 5_000_000)
    entry = store.browse("b").objects[0]
    stream = store.stream("b", entry)
    next(stream)
    with path.open("ab") as file:
        file.write(b"more")
    assert code_of(lambda: stream) == "changed"


def test_a_replaced_file_of_the_same_size_and_time_is_noticed(local: tuple[ObjectStore, Path]) -> None:
    store, root = local
    path = write(root / "b" / "file", b"old")
    entry = store.browse("b").objects[0]
    facts = path.stat()
    fresh = write(root / "b" / "fresh", b"new")
    os.utime(fresh, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    fresh.replace(path)
    assert code_of(lambda: store.stream("b", entry)) == "changed"


def test_names_that_are_not_utf8_are_refused_not_crashed_on(local: tuple[ObjectStore, Path]) -> None:
    store, root = local
    (Path(os.fsdecode(os.fsencode(root / "b" / "pkg" / "model") + b"/\xff\xfe"))).write_bytes(b"1")
    assert code_of(lambda: store.walk("b", "pkg/")) == "illegal_name"
    assert [entry.name for entry in store.browse("b", "pkg/model/").objects] == ["config.json"]


def test_a_root_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    store = open_connection(ObjectConnection(kind="local", root=tmp_path / "gone"))
    assert code_of(store.buckets) == "unreachable"


# --- S3 -----------------------------------------------------------------------------------------------


@pytest.mark.live
def test_wrong_keys_are_forbidden_and_not_told(s3: S3Server) -> None:
    store = open_connection(s3.connection(secret_key="a wrong secret key 0123456789"))
    with pytest.raises(ProblemError) as raised:
        store.buckets()
    assert raised.value.problem.code == "registry.source.forbidden"
    assert "wrong secret" not in str(raised.value.problem.as_dict())


def test_an_address_where_nobody_listens_is_unreachable_and_not_told() -> None:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    store = open_connection(
        ObjectConnection(kind="s3", endpoint=endpoint, access_key="k" * 20, secret_key="s" * 20)
    )
    with pytest.raises(ProblemError) as raised:
        store.buckets()
    assert raised.value.problem.code == "registry.source.unreachable"
    assert str(port) not in str(raised.value.problem.as_dict())


def test_a_connection_does_not_show_its_secret() -> None:
    assert "hunter2" not in repr(ObjectConnection(kind="s3", secret_key="hunter2"))


class ScriptedS3:
    """A server that gives each connection the next answer, and the last one again, however odd they are."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._answers = answers
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for number in itertools.count():
            connection, _address = self._listener.accept()
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(self._answers[min(number, len(self._answers) - 1)])

    def store(self) -> ObjectStore:
        return open_connection(
            ObjectConnection(kind="s3", endpoint=self.endpoint, access_key="k" * 20, secret_key="s" * 20)
        )


def answer(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers])
    return head.encode() + b"\r\n\r\n" + body


def error(status: str, code: str, message: str = "") -> bytes:
    return answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


LISTING = answer(
    "200 OK",
    b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents><Key>p/big</Key>"
    b"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>1000</Size>"
    b"</Contents></ListBucketResult>",
)


def test_a_download_that_is_cut_short_is_truncated() -> None:
    modified = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"
    cut = answer("200 OK", b"x" * 400, 'ETag: "e"', modified, length=1000)
    store = ScriptedS3(LISTING, cut).store()
    entry = next(iter(store.walk("b", "p")))
    assert code_of(lambda: store.stream("b", entry)) == "truncated"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error("400 Bad Request", "InvalidRequest", "A form of Server Side Encryption."), "encrypted"),
        (error("403 Forbidden", "InvalidObjectState"), "encrypted"),
        (error("403 Forbidden", "AccessDenied"), "forbidden"),
        (error("301 Moved Permanently", "PermanentRedirect"), "other_region"),
        (error("404 Not Found", "NoSuchBucket"), "no_such_path"),
        (error("400 Bad Request", "WeirdThing"), "unreachable"),
    ],
)
def test_refusals_of_s3_become_the_documented_problems(reply: bytes, code: str) -> None:
    server = ScriptedS3(reply)
    assert code_of(lambda: server.store().read("b", "key", 10)) == code, server.requests


def test_s3_keys_that_would_leave_a_folder_end_the_walk() -> None:
    store = ScriptedS3(LISTING.replace(b"p/big", b"p/../")).store()
    assert code_of(lambda: store.walk("b", "p")) == "illegal_name"


def test_the_process_own_credentials_are_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOWNPROCESSKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "own-session-token")
    server = ScriptedS3(LISTING)
    store = open_connection(ObjectConnection(kind="s3", endpoint=server.endpoint))
    list(store.walk("b", "p"))
    assert b"AKIAOWNPROCESSKEY" not in server.requests[0]
    assert b"own-session-token" not in server.requests[0]
    assert b"Authorization" not in server.requests[0]
