"""The documented table in and out: ``data.req_data`` rows → ``data.resp_data`` rows (facts §2.9, §4.10).

Order of the features. When the model file knows its feature names and the declared ones are the same set,
the model's order is used: the order of properties in a JSON schema is not a promise. When they are other
names, the declared order is the model's column order. With neither, the first row's own order is taken and
its length checked.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from .engines.base import Engine, Predicted
from .errors import bad_request
from .package import Api

_SHAPE = '{"data": {"req_data": [{"feature": value, …}, …]}}'
_SCORE_KEYS = ("probabilities", "scores")


def declared_columns(schema: Any) -> tuple[str, ...] | None:
    """The features that a request schema names for one row; None when it is not the documented table."""
    return _row_properties(schema, "req_data")


def is_table(schema: Any) -> bool:
    """Whether a request schema is the documented ``data.req_data`` table."""
    return "req_data" in _inside_data(schema)


class TableApi:
    """Reads the rows of a request, writes the rows of an answer."""

    def __init__(self, engine: Engine, api: Api) -> None:
        self._engine = engine
        self.columns = _order(declared_columns(api.request_schema), engine.columns)
        answer = _row_schema(api.response_schema, "resp_data")
        properties = answer.get("properties") if isinstance(answer, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        self._score_keys = tuple(key for key in _SCORE_KEYS if key in properties)
        if not properties and engine.has_scores:
            self._score_keys = ("probabilities",)  # nothing declared: tell what the model knows
        others = [key for key in properties if key not in _SCORE_KEYS]
        self.result_key = others[0] if others and "predict_result" not in others else "predict_result"
        declared = properties.get(self.result_key)
        self._as_text = isinstance(declared, dict) and declared.get("type") == "string"
        self._get = itemgetter(*self.columns) if self.columns and len(self.columns) > 1 else None

    def answer(self, body: Any) -> Any:
        """One call: the request's parsed body → the answer's object."""
        rows, columns = self.read(body)
        return self.write(self._engine.predict_table(rows, columns, bool(self._score_keys)), body)

    def read(self, body: Any) -> tuple[list[list], tuple[str, ...] | None]:
        """The rows in column order. Raises `CallError` 400 that names the row and the feature."""
        try:
            rows = body["data"]["req_data"]
        except (KeyError, TypeError, IndexError):
            raise bad_request(f"The body has no data.req_data. Send {_SHAPE}.") from None
        if not isinstance(rows, list) or not rows:
            raise bad_request(f"data.req_data must be an array with at least one row. Send {_SHAPE}.")
        if isinstance(rows[0], list):
            table, columns = rows, self.columns
            if not all(isinstance(row, list) for row in rows):
                raise bad_request("The rows in data.req_data must be all objects or all arrays.")
        else:
            if not all(isinstance(row, dict) for row in rows):
                raise bad_request(f"Every row in data.req_data must be an object. Send {_SHAPE}.")
            columns = self.columns or tuple(rows[0])
            get = self._get
            try:
                table = [get(row) for row in rows] if get else [[row[key] for key in columns] for row in rows]
            except KeyError:
                raise _missing(rows, columns) from None
        width = self._engine.width
        if width and len(table[0]) != width:
            raise bad_request(
                f"The model takes {width} features and a row has {len(table[0])}. "
                "Send every feature in every row."
            )
        return table, columns

    def write(self, predicted: Predicted, body: Any) -> dict[str, Any]:
        """The answer's object; a ``meta`` of the request is repeated, as documented."""
        results: Any = predicted.results
        if isinstance(results, np.ndarray):
            # float32 cells stay numpy scalars, which orjson writes in their own short form: 0.1, not
            # 0.10000000149.
            results = list(results) if results.dtype == np.float32 and results.ndim == 1 else results.tolist()
        if self._as_text:
            results = [value if isinstance(value, str) else str(value) for value in results]
        rows = [{self.result_key: value} for value in results]
        if predicted.scores is not None:
            self._add_scores(rows, predicted)
        answer: dict[str, Any] = {"data": {"resp_data": rows}}
        meta = body.get("meta") if isinstance(body, dict) else None
        return {"meta": meta, **answer} if meta is not None else answer

    def _add_scores(self, rows: list[dict[str, Any]], predicted: Predicted) -> None:
        for row, scores in zip(rows, predicted.scores, strict=True):
            if "probabilities" in self._score_keys:
                row["probabilities"] = scores
            if "scores" in self._score_keys:
                names = predicted.classes if predicted.classes is not None else range(len(scores))
                ranked = sorted(zip(names, scores.tolist(), strict=True), key=lambda pair: -pair[1])
                row["scores"] = [[str(name), score] for name, score in ranked[:5]]


def _order(declared: tuple[str, ...] | None, known: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if declared and known and set(declared) == set(known):
        return known
    return declared or known


def _missing(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Exception:
    for at, row in enumerate(rows):
        for name in columns:
            if name not in row:
                return bad_request(
                    f"The feature “{name}” is missing at $.data.req_data[{at}]. Send it in every row."
                )
    return bad_request("A feature is missing in a row.")


def _inside_data(schema: Any) -> dict[str, Any]:
    for step in ("properties", "data", "properties"):
        schema = schema.get(step) if isinstance(schema, dict) else None
    return schema if isinstance(schema, dict) else {}


def _row_schema(schema: Any, key: str) -> dict[str, Any]:
    rows = _inside_data(schema).get(key)
    items = rows.get("items") if isinstance(rows, dict) else None
    if isinstance(items, list):
        items = items[0] if items else None
    return items if isinstance(items, dict) else {}


def _row_properties(schema: Any, key: str) -> tuple[str, ...] | None:
    properties = _row_schema(schema, key).get("properties")
    return tuple(properties) if isinstance(properties, dict) and properties else None
