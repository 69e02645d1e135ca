"""The model server: a stand-alone package that knows no Django and nothing of Slipway outside this folder.

It is installed nowhere. It runs by its path, with the interpreter of the model's own environment::

    <environment>/bin/python -I <here>/__main__.py --package DIR --engine ONNX --uds PATH

and, while developing, as ``python -m deployments.predictor`` from the repository's root (not from the
folder above: its modules would then shadow those of the standard library). Its needs are in
`requirements.in`. One process serves one version of one model (design §6).
"""

from __future__ import annotations

SERVER_NAME = "slipway-predictor"
SERVER_VERSION = "1"
