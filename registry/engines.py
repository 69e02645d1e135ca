"""The catalogue of engines, runtimes and package layouts: data, not ifs.

`CATALOGUE` names every engine that the documents know (facts §1.9, §2.2, §2.9) and ONNX (facts §8.5 row 95);
`ENGINES` is the part that this installation can run. Legacy runtime names of the documents are accepted as
aliases of the nearest runtime offered (design §12); the caller tells the user both names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from console.problems import ProblemError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The interpreter that runs the console also runs the models: environments are made for it."""

IMAGE = "Image"
"""The model type of container images, which have no engine, no model file and no runtime."""


@dataclass(frozen=True)
class Runtime:
    """One way to run an engine: a `name` shown and stored, a Python `X.Y`, pip `requirements`."""

    name: str
    python: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """What a package of one `model_type` holds and how it runs.

    `layout` lists what `model/` must hold. `suffixes` name the one model file ('.m'); empty where the model
    is several files. `base_class` in module `import_path` is what inference code derives from; empty where
    the engine takes no inference code. `runtimes` is newest first, empty when the engine is not offered
    here. `documented_runtimes` are the names of facts §1.9. `distributions` maps package names that would
    install a second copy of the engine to the distribution that the runtime already brings.
    """

    name: str
    label: str
    layout: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    base_class: str = ""
    import_path: str = ""
    constructor: tuple[str, ...] = ("model_name", "model_path")
    overrides: tuple[str, ...] = ()
    code_required: bool = False
    config_required: bool = True
    json_only: bool = False
    runtimes: tuple[Runtime, ...] = ()
    documented_runtimes: tuple[str, ...] = ()
    distributions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def offered(self) -> bool:
        """True when this installation can run models of this engine."""
        return bool(self.runtimes)

    @property
    def default(self) -> Runtime:
        """The newest runtime offered; raises IndexError where the engine is not offered."""
        return self.runtimes[0]

    @property
    def runtime_names(self) -> tuple[str, ...]:
        """Every name that `runtime` understands: offered ones first, then the documented ones."""
        return tuple(runtime.name for runtime in self.runtimes) + self.documented_runtimes

    def knows_runtime(self, name: str) -> bool:
        """True when `name` is offered, documented for this engine, or written in a documented style."""
        return name in self.runtime_names or self._sibling(name) is not None or self._documented_style(name)

    def runtime(self, name: str | None = None) -> tuple[Runtime, str | None]:
        """The runtime for a stored or declared `name`, and the name it replaces if it is an alias.

        No name means the default. Raises ProblemError `registry.runtime.not_offered`.
        """
        if not self.offered:
            raise self._not_offered(name or "-")
        if not name:
            return self.default, None
        for runtime in self.runtimes:
            if runtime.name == name:
                return runtime, None
        if sibling := self._sibling(name):
            return sibling, name
        if name in self.documented_runtimes or self._documented_style(name):
            return self.default, name
        raise self._not_offered(name)

    def _not_offered(self, name: str) -> ProblemError:
        offered = ", ".join(self.runtime_names) if self.offered else "-"
        return ProblemError("registry.runtime.not_offered", runtime=name, engine=self.name, offered=offered)

    def _sibling(self, name: str) -> Runtime | None:
        """The offered runtime of the same engine version when `name` differs only in its Python."""
        stem, mark, python = name.rpartition("-python")
        if not mark or not re.fullmatch(r"\d{1,2}\.\d{1,2}", python, re.ASCII):
            return None
        return next((r for r in self.runtimes if r.name.rpartition("-python")[0] == stem), None)

    def _documented_style(self, name: str) -> bool:
        """True for tensorflow_1.15.0-cann_6.3.0-py_3.7-euler_2.8.3-aarch64 and its like (facts §1.9)."""
        return bool(
            self.documented_runtimes
            and re.fullmatch(
                re.escape(self.name.lower()) + r"_[\d.]{1,16}-[a-z]+(_[\d.]{1,16})?-py_[\d.]{1,8}"
                r"-[a-z]+_[\d.]{1,16}-(x86_64|aarch64)",
                name,
                re.ASCII,
            )
        )


def _runtime(stem: str, *requirements: str) -> tuple[Runtime, ...]:
    return (Runtime(f"{stem}-python{PYTHON}", PYTHON, requirements),)


_TF = "model_service.tfserving_model_service"
_CLASSIC = "model_service.python_model_service"
_CAFFE_RUNTIMES = tuple(f"python{v}{hw}" for v in ("2.7", "3.6", "3.7") for hw in ("", "-gpu", "-cpu"))

CATALOGUE: Mapping[str, Engine] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            Engine(
                name="ONNX",
                label="ONNX",
                layout=("*.onnx",),
                suffixes=(".onnx",),
                config_required=False,
                # Not in the documents: the classic base class also carries code around an ONNX model.
                base_class="XgSklServingBaseService",
                import_path=_CLASSIC,
                constructor=("model_path",),
                runtimes=_runtime("onnxruntime1.31", "onnxruntime>=1.31,<1.32"),
                documented_runtimes=("onnx1.11.1-py38",),  # facts §7.3
                distributions={"onnxruntime-gpu": "onnxruntime"},
            ),
            Engine(
                name="XGBoost",
                label="XGBoost",
                layout=("*.m", "config.json"),
                suffixes=(".m",),
                base_class="XgSklServingBaseService",
                import_path=_CLASSIC,
                constructor=("model_path",),
                json_only=True,
                # The distribution `xgboost` draws gigabytes of GPU libraries along; the runtime is CPU only.
                runtimes=_runtime("xgboost3.2", "xgboost-cpu>=3.2,<3.3"),
                documented_runtimes=("python3.6", "python2.7"),
                distributions={"xgboost": "xgboost-cpu"},
            ),
            Engine(
                name="Scikit_Learn",
                label="Scikit_Learn",
                layout=("*.m", "config.json"),
                suffixes=(".m",),
                base_class="XgSklServingBaseService",
                import_path=_CLASSIC,
                constructor=("model_path",),
                json_only=True,
                # One minor release only: a pickled estimator is not promised to load in another one.
                runtimes=_runtime("scikit-learn1.9", "scikit-learn>=1.9,<1.10", "joblib>=1.6,<2"),
                documented_runtimes=("python3.6", "python2.7"),
                distributions={"sklearn": "scikit-learn"},
            ),
            Engine(
                name="TensorFlow",
                label="TensorFlow",
                layout=("saved_model.pb", "variables/*.index", "variables/*.data-*", "config.json"),
                base_class="TfServingBaseService",
                import_path=_TF,
                documented_runtimes=(
                    "python3.6",
                    "python2.7",
                    *(f"tf1.13-python{v}-{hw}" for v in ("2.7", "3.6", "3.7") for hw in ("gpu", "cpu")),
                    "tf2.1-python3.7",
                    "tf1.15-aarch64-c76-d910",
                ),
            ),
            Engine(
                name="PyTorch",
                label="PyTorch",
                layout=("*.pth", "config.json", "customize_service.py"),
                suffixes=(".pth",),
                base_class="PTServingBaseService",
                import_path="model_service.pytorch_model_service",
                overrides=("__init__",),
                code_required=True,
                documented_runtimes=("python2.7", "python3.6", "python3.7", "pytorch1.4-python3.7"),
            ),
            Engine(
                name="MXNet",
                label="MXNet",
                layout=("*-symbol.json", "*-0000.params", "config.json"),
                base_class="MXNetBaseService",
                import_path="mms.model_service.mxnet_model_service",
                documented_runtimes=("python3.7", "python3.6", "python2.7"),
            ),
            Engine(
                name="Caffe",
                label="Caffe",
                layout=("deploy.prototxt", "*.caffemodel", "config.json"),
                suffixes=(".caffemodel",),
                base_class="CaffeBaseService",
                import_path="model_service.caffe_model_service",
                overrides=("__init__",),
                documented_runtimes=_CAFFE_RUNTIMES,
            ),
            Engine(
                name="Spark_MLlib",
                label="Spark_MLlib",
                layout=("spark_model/", "config.json"),
                base_class="SparkServingBaseService",
                import_path="model_service.spark_model_service",
                constructor=("model_path",),
                json_only=True,
                documented_runtimes=("python2.7", "python3.6"),
            ),
            Engine(
                name="MindSpore",
                label="MindSpore",
                layout=("*.ckpt", "tmp.om", "config.json"),
                suffixes=(".ckpt",),
                base_class="SingleNodeService",
                import_path="model_service.model_service",
                documented_runtimes=("ms1.1-python3.7-c76",),
            ),
            Engine(
                name=IMAGE,
                label=IMAGE,
                layout=("config.json",),
            ),
        )
    }
)

ENGINES: Mapping[str, Engine] = MappingProxyType({e.name: e for e in CATALOGUE.values() if e.offered})
