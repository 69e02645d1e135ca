"""The protocol's endpoints of one loaded model: what they answer, without HTTP around it."""

from __future__ import annotations

from typing import Any

from .. import SERVER_NAME, SERVER_VERSION
from ..engines.base import Engine, Tensor
from ..errors import BAD_REQUEST, CallError
from .messages import decode, encode


class Protocol:
    """Metadata and ``infer`` of one model; `engine` is None when the version answers through its own code
    only.
    """

    def __init__(self, name: str, version: str, engine: Engine | None) -> None:
        self._name = name
        self._version = version
        self.engine = engine
        self.inputs = {tensor.name: tensor for tensor in engine.inputs} if engine else {}
        self.outputs = {tensor.name: tensor for tensor in engine.outputs} if engine else {}

    @property
    def paths(self) -> tuple[str, ...]:
        """The addresses of the model, with and without its version."""
        base = f"/v2/models/{self._name}"
        return (base, f"{base}/versions/{self._version}") if self._version else (base,)

    def server(self) -> dict[str, Any]:
        """``GET /v2``."""
        return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": ["binary_tensor_data"]}

    def metadata(self) -> dict[str, Any]:
        """``GET /v2/models/<name>``."""
        return {
            "name": self._name,
            "versions": [self._version] if self._version else [],
            "platform": self.engine.platform if self.engine else "customize_service",
            "inputs": [_describe(tensor) for tensor in self.inputs.values()],
            "outputs": [_describe(tensor) for tensor in self.outputs.values()],
        }

    def infer(self, body: bytes | memoryview, head_length: int | None) -> tuple[Any, int | None]:
        """``POST …/infer``: the answer's body (bytes or parts) and the length of its JSON head when binary
        follows.
        """
        engine = self.engine
        if engine is None:
            raise CallError(
                400,
                BAD_REQUEST,
                "This version replaces the built-in inference by its own customize_service.py, so it has no "
                "tensors to infer on. Call its declared API: POST /.",
            )
        request = decode(body, head_length, self.inputs, self.outputs, engine.default_outputs)
        results = engine.run(request.feeds, [wanted.name for wanted in request.wanted])
        return encode(request, results, self._name, self._version)


def _describe(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
