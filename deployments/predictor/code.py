"""A package's own ``customize_service.py``: import it, find its class, make it, call it (facts §2.9)."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import engines
from .engines.base import Engine
from .errors import Unusable, bad_request
from .package import FORM_TYPE, Package
from .shims import python_model_service as shim
from .tabular import TableApi

_PACKAGE = "slipway_model"


class Builtin:
    """The built-in steps behind the base class; the model file is loaded on first use, at most once."""

    def __init__(self, package: Package, threads: int) -> None:
        self._package = package
        self._threads = threads
        self._engine: Engine | None = None
        self._table: TableApi | None = None

    @property
    def engine(self) -> Engine:
        """The loaded engine."""
        if self._engine is None:
            self._engine = engines.load(self._package.engine, self._package.model_file, self._threads)
            self._table = TableApi(self._engine, self._package.api)
        return self._engine

    def preprocess(self, data: Any) -> Any:
        """Rows of ``data.req_data`` as a 2-D array."""
        engine = self.engine
        if not isinstance(data, shim.JsonText):
            raise bad_request("Without an own _preprocess this version takes JSON with data.req_data.")
        rows, _ = self._table.read(data.parsed)
        return np.array(rows, dtype=np.float32 if engine.platform != "sklearn" else None)

    def inference(self, data: Any) -> Any:
        """What the model file's own library predicts."""
        return self.engine.predict(data)

    def postprocess(self, data: Any) -> Any:
        """One ``predict_result`` per row for a list or array; anything else as it is."""
        if isinstance(data, (list, np.ndarray)):
            return {"data": {"resp_data": [{"predict_result": value} for value in data]}}
        return data


class OwnCode:
    """The object of a package's class, called in the documented order."""

    def __init__(self, service: Any, builtin: Builtin, uses_builtin_inference: bool) -> None:
        self._service = service
        self.engine = builtin.engine if uses_builtin_inference else None

    def answer(self, data: Any) -> Any:
        """``_preprocess`` → ``_inference`` → ``_postprocess``; what they raise comes through."""
        service = self._service
        return service._postprocess(service._inference(service._preprocess(data)))


def load(package: Package, threads: int) -> OwnCode:
    """Import the code and make its object. What the code raises comes through; `Unusable` for a broken
    contract.
    """
    builtin = Builtin(package, threads)
    _install_shims()
    shim.XgSklServingBaseService._builtin = builtin
    found = _service_class(_import(package.folder))
    service = _make(found, package.model_file)
    base = shim.XgSklServingBaseService
    builtin_inference = found._inference is base._inference
    if found._preprocess is base._preprocess and package.api.request_type == FORM_TYPE:
        raise Unusable("The API takes multipart/form-data, so customize_service.py must define _preprocess.")
    return OwnCode(service, builtin, builtin_inference)


def _install_shims() -> None:
    parent = ModuleType("model_service", "Base classes of inference code.")
    parent.__path__ = []  # a package, so that `import model_service.python_model_service` works
    parent.python_model_service = shim
    sys.modules["model_service"] = parent
    sys.modules["model_service.python_model_service"] = shim


def _import(folder: Path) -> ModuleType:
    """Import as a part of a package made of the folder, so that relative imports work, and with the folder
    first on the path, so that plain ``import helper`` works too.
    """
    sys.path.insert(0, str(folder))
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[_PACKAGE] = package
    initial = folder / "__init__.py"
    if initial.is_file():
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, initial, submodule_search_locations=[str(folder)]
        )
        package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = package
        spec.loader.exec_module(package)
    module = importlib.import_module(f"{_PACKAGE}.customize_service")
    sys.modules["customize_service"] = module  # the name under which a dump may know the module's own classes
    return module


def _service_class(module: ModuleType) -> type:
    base = shim.XgSklServingBaseService
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    ]
    leaves = [one for one in dict.fromkeys(found) if not any(one in other.__mro__[1:] for other in found)]
    if not leaves:
        raise Unusable(
            "customize_service.py defines no subclass of XgSklServingBaseService. Import the base class from "
            "model_service.python_model_service and define one."
        )
    if len(leaves) > 1:
        names = ", ".join(leaf.__name__ for leaf in leaves)
        raise Unusable(f"customize_service.py defines more than one service class ({names}). Keep one.")
    return leaves[0]


def _make(found: type, model_file: Path) -> Any:
    """Call the constructor with ``(model_path)``, or with ``(model_name, model_path)`` where it wants two."""
    needed = [
        parameter
        for parameter in inspect.signature(found).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    service = found(model_file.stem, str(model_file)) if len(needed) == 2 else found(str(model_file))
    if not hasattr(service, "model_path"):
        service.model_path = str(model_file)  # an own __init__ may forget it
    return service
