"""A package where it lies in object storage: what to list, read and stream of the parent of `model/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from console.problems import ProblemError
from registry import package
from registry.inference_code import CODE_BYTES
from registry.sources.base import Entry, ObjectStore, check_folder
from registry.strict_json import CONFIG_BYTES

READ_BYTES = max(CONFIG_BYTES, CODE_BYTES)
"""The two small files of a package that are read to inspect it are never larger."""


@dataclass(frozen=True)
class PackageSource:
    """The folder `path` (empty, or with a slash at its end) of a bucket, which should hold `model/`."""

    store: ObjectStore
    bucket: str
    path: str

    def __post_init__(self) -> None:
        check_folder(self.path)

    def entries(self) -> dict[str, Entry]:
        """Every object of the package: path below the folder -> entry. Raises `registry.source.*`."""
        folder = self.path + package.FOLDER
        return {
            entry.key.removeprefix(self.path): entry
            for entry in self.store.walk(self.bucket, folder)
            if not entry.key.endswith("/")
        }

    def inspect(self) -> tuple[package.Inspection, dict[str, Entry]]:
        """What the folder holds and what of it is to be taken.

        Beside `model/` only the objects directly in the folder are looked at: their names tell a misplaced
        config.json, and that `model` itself was chosen. Raises `registry.source.*`.
        """
        beside = self.store.browse(self.bucket, self.path)
        try:
            entries = self.entries()
        except ProblemError as error:
            if error.problem.code != "registry.source.no_such_path":
                raise
            entries = {}
        listing = {entry.key.removeprefix(self.path): entry.size for entry in beside.objects}
        listing |= {path: entry.size for path, entry in entries.items()}
        found = package.inspect(listing, lambda path: self._read(path))
        return found, {path: entry for path, entry in entries.items() if path in found.files}

    def _read(self, path: str) -> bytes:
        return self.store.read(self.bucket, self.path + path, READ_BYTES)

    def entry(self, path: str, size: int, fingerprint: str) -> Entry:
        """The entry of a file that was listed before."""
        return Entry(self.path + path, size, fingerprint)

    def stream(self, entry: Entry, offset: int) -> Iterator[bytes]:
        """The bytes of `entry` from `offset`; raises rather than giving fewer or other ones."""
        return self.store.stream(self.bucket, entry, offset)
