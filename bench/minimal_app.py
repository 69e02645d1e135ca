"""The yardstick: the least Starlette + uvicorn application that answers predictions of one ONNX file.

``python bench/minimal_app.py MODEL.onnx SOCKET``. No checks, no limits, no counters, no health of its own;
inference runs right on the event loop. ``POST /`` takes ``{"inputs": {name: nested list}}``; ``POST
/binary`` the raw FP32 bytes of one 1×3×224×224 tensor; ``POST /json`` ``{"data": [flat list]}`` of the same
tensor.
"""

from __future__ import annotations

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

IMAGE = (1, 3, 224, 224)


def main(model: str, path: str) -> None:
    """Serve `model` on the Unix socket `path`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    names = [node.name for node in session.get_outputs()]

    async def predict(request: Request) -> Response:
        body = orjson.loads(await request.body())
        feeds = {key: np.array(value, dtype=np.float32) for key, value in body["inputs"].items()}
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
        answer = orjson.dumps({"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(answer, media_type="application/json")

    async def binary(request: Request) -> Response:
        tensor = np.frombuffer(await request.body(), dtype=np.float32).reshape(IMAGE)
        return Response(
            session.run(names, {name: tensor})[0].tobytes(), media_type="application/octet-stream"
        )

    async def as_json(request: Request) -> Response:
        values = orjson.loads(await request.body())["data"]
        tensor = np.array(values, dtype=np.float32).reshape(IMAGE)
        answer = orjson.dumps(
            {"outputs": session.run(names, {name: tensor})}, option=orjson.OPT_SERIALIZE_NUMPY
        )
        return Response(answer, media_type="application/json")

    app = Starlette(
        routes=[
            Route("/", predict, methods=["POST"]),
            Route("/binary", binary, methods=["POST"]),
            Route("/json", as_json, methods=["POST"]),
        ]
    )
    uvicorn.run(app, uds=path, loop="uvloop", http="httptools", log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
