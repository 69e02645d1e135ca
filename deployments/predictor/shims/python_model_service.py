"""``model_service.python_model_service``: the documented base class of the classic engines (facts §2.9).

What ``_preprocess`` receives:

* ``multipart/form-data``: a mapping ``{form key: {file name: file object}}``; a form field that is no file
  has its text as value.
* ``application/json``: a `JsonText`. The documents give the parsed object to some engines and the raw text
  to the XGBoost sample, which begins with ``json.loads(data)``. Both kinds of code are in the field under
  the *same* base class, so neither form alone is right. A `JsonText` is the text, and it answers as the
  object that the text holds: ``json.loads(data)["data"]`` and ``data["data"]`` both work, and no inspection
  of foreign code decides which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class JsonText(str):
    """The text of a JSON body that can also be used as the object or array it holds.

    It *is* a ``str`` (``isinstance``, ``len``, ``encode``, ``json.loads``); indexing, iteration, ``in``,
    ``keys``, ``values``, ``items`` and ``get`` go to the parsed value, which `parsed` gives as plain dicts
    and lists.
    """

    parsed: Any

    def __new__(cls, text: str, parsed: Any) -> JsonText:
        found = super().__new__(cls, text)
        found.parsed = parsed
        return found

    def __getitem__(self, key: Any) -> Any:
        return self.parsed[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parsed)

    def __contains__(self, key: Any) -> bool:
        return key in self.parsed

    def keys(self) -> Any:
        """As of a dict."""
        return self.parsed.keys()

    def values(self) -> Any:
        """As of a dict."""
        return self.parsed.values()

    def items(self) -> Any:
        """As of a dict."""
        return self.parsed.items()

    def get(self, key: Any, default: Any = None) -> Any:
        """As of a dict."""
        return self.parsed.get(key, default)


class XgSklServingBaseService:
    """Base class of a ``customize_service.py`` for XGBoost, Scikit_Learn (and here ONNX as well).

    One object serves all calls, one call at a time. `model_path` is the path of the model *file*. The steps
    that a subclass leaves alone are the built-in ones: rows of ``data.req_data`` in, ``data.resp_data``
    out.
    """

    _builtin: ClassVar[Any] = None  # set by the predictor before the subclass is made

    def __init__(self, model_path: str) -> None:
        self.model_path = model_path

    def _preprocess(self, data: Any) -> Any:
        return self._builtin.preprocess(data)

    def _inference(self, data: Any) -> Any:
        return self._builtin.inference(data)

    def _postprocess(self, data: Any) -> Any:
        return self._builtin.postprocess(data)
