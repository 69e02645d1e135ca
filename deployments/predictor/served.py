"""One loaded version: what the endpoints need, put together from a package."""

from __future__ import annotations

from dataclasses import dataclass

from . import code, engines
from .declared import DeclaredApi, RequestReader
from .openinference.protocol import Protocol
from .package import Package
from .tabular import TableApi, is_table
from .tensors import TensorsApi


@dataclass(frozen=True)
class Served:
    """A version ready to answer. `reentrant` tells whether its answers may be computed by several threads
    at once.
    """

    name: str
    version: str
    package: Package
    declared: DeclaredApi
    protocol: Protocol
    reentrant: bool


def load(package: Package, name: str, version: str, threads: int) -> Served:
    """Load the model of `package`. What its library or its own code raises comes through; else `Unusable`."""
    reader = RequestReader(package.api, own_code=package.code is not None)
    if package.code is not None:
        own = code.load(package, threads)
        engine, answer = own.engine, own.answer
    else:
        engine = engines.load(package.engine, package.model_file, threads)
        table = package.engine != "ONNX" or is_table(package.api.request_schema)
        answer = (TableApi(engine, package.api) if table else TensorsApi(engine)).answer
    return Served(
        name=name,
        version=version,
        package=package,
        declared=DeclaredApi(reader, answer),
        protocol=Protocol(name, version, engine),
        # The documented class keeps what it likes on `self` and was never promised more than one call at a
        # time: two threads in it could hand one caller's answer to another.
        reentrant=package.code is None,
    )
