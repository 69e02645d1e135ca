"""The import page's look into object storage: where the reader stands, what is there, what a package says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from console.problems import Problem, ProblemError
from registry import package
from registry.connections import open_store
from registry.engines import CATALOGUE
from registry.models import Connection
from registry.package_source import PackageSource
from registry.sources.base import Entry, check_folder

FOLDERS_SHOWN = 100


@dataclass(frozen=True)
class Step:
    """A folder that one may go to: its name as shown, and its path (empty, or with a slash at its end)."""

    name: str
    path: str


@dataclass
class Browsing:
    """One look at a folder. `problem` says why there is nothing to see.

    `inspection` is there when the folder holds `model/`: then the folder can be imported as it is, unless the
    inspection has problems. `more` is the token of the next page of a long folder.
    """

    connection: Connection | None = None
    buckets: Sequence[str] = ()
    bucket: str = ""
    path: str = ""
    steps: list[Step] = field(default_factory=list)
    folders: list[Step] = field(default_factory=list)
    objects: Sequence[Entry] = ()
    more: str = ""
    problem: Problem | None = None
    inspection: package.Inspection | None = None

    @property
    def engine_label(self) -> str:
        """The detected engine in the documents' words; empty when the files do not tell it."""
        found = CATALOGUE.get(self.inspection.engine) if self.inspection else None
        return found.label if found else ""

    @property
    def problems(self) -> list[Problem]:
        """Everything that forbids to import this folder."""
        if self.problem:
            return [self.problem]
        return self.inspection.problems if self.inspection else []

    @property
    def api_rows(self) -> list[package.ApiRow]:
        """The rows of the parameter panel."""
        return package.api_rows(self.inspection.apis) if self.inspection else []


def browse(connection: Connection | None, bucket: str = "", path: str = "", after: str = "") -> Browsing:
    """Look at the folder `path` of `bucket`; the first bucket when none is named or it does not exist.

    A missing slash at the end of `path` is added. Raises nothing: what goes wrong is the answer's `problem`.
    """
    found = Browsing(connection=connection)
    if connection is None:
        return found
    try:
        store = open_store(connection)
        found.buckets = store.buckets()
        if bucket not in found.buckets:
            bucket, path = (found.buckets[0] if found.buckets else ""), ""
        found.bucket = bucket
        if not bucket:
            return found
        bare = path.strip("/")
        found.path = path = check_folder(f"{bare}/" if bare else "")
        found.steps = _steps(path)
        page = store.browse(bucket, path, page_token=after or None, limit=FOLDERS_SHOWN)
        found.folders = [Step(folder.removeprefix(path).rstrip("/"), folder) for folder in page.folders]
        found.objects = page.objects
        found.more = page.next_token or ""
        if any(step.name == "model" for step in found.folders) or after or _is_a_model_folder(page.objects):
            found.inspection = PackageSource(store, bucket, path).inspect()[0]
    except ProblemError as error:
        found.problem = error.problem
    return found


def _is_a_model_folder(objects: Sequence[Entry]) -> bool:
    """Whether somebody went one folder too deep: the inspection then says so."""
    suffixes = tuple(suffix for engine in CATALOGUE.values() for suffix in engine.suffixes)
    return any(entry.name == "config.json" or entry.name.endswith(suffixes) for entry in objects)


def _steps(path: str) -> list[Step]:
    """The folders from the bucket down to `path`."""
    parts = path.split("/")[:-1]
    return [Step(part, "/".join(parts[: number + 1]) + "/") for number, part in enumerate(parts)]
