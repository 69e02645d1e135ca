"""What every loaded model can do, whatever its engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One named input or output: an Open Inference datatype and a shape in which -1 is any size.

    `any_number` inputs take every numeric datatype (an estimator converts by itself).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    any_number: bool = False


@dataclass(frozen=True)
class Predicted:
    """The result of a table: one result per row, and per row one score per class where the model gives
    them.
    """

    results: Sequence[Any] | np.ndarray
    scores: np.ndarray | None = None
    classes: Sequence[Any] | None = None


class Engine:
    """A loaded model. All methods may be called from several threads at once."""

    platform: str = ""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    default_outputs: tuple[str, ...] = ()
    # Names of the features in the model's own order, and their number, where the model file says so.
    columns: tuple[str, ...] | None = None
    width: int | None = None
    has_scores: bool = False

    def run(self, feeds: dict[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """Compute the outputs named in `wanted`, in that order."""
        raise NotImplementedError

    def predict(self, data: Any) -> Any:
        """What the documented base class's own ``_inference`` does with the result of ``_preprocess``."""
        raise NotImplementedError

    def predict_table(self, rows: list[list], columns: Sequence[str] | None, with_scores: bool) -> Predicted:
        """Predict rows whose cells are in the order of `columns`; scores only when asked and available.

        Raises `CallError` 400 when a cell cannot be what the model needs.
        """
        raise NotImplementedError


def numbers(rows: list[list], columns: Sequence[str] | None, dtype: Any = np.float64) -> np.ndarray:
    """`rows` as a 2-D array; null becomes NaN, the missing value of the engines that know one.

    Raises `CallError` 400 that names the first cell which is not a number.
    """
    try:
        table = np.array(rows, dtype=dtype)
        if table.ndim == 2:
            return table
    except (ValueError, TypeError, OverflowError):
        pass
    raise _not_a_table(rows, columns, dtype)


def _not_a_table(rows: list[list], columns: Sequence[str] | None, dtype: Any) -> Exception:
    from ..errors import bad_request

    width = len(rows[0]) if rows else 0
    for at, row in enumerate(rows):
        if len(row) != width:
            return bad_request(
                f"Row {at} has {len(row)} values and row 0 has {width}. Send the same in every row."
            )
        for column, cell in enumerate(row):
            try:
                np.array(cell, dtype=dtype).reshape(())
            except (ValueError, TypeError, OverflowError):
                name = columns[column] if columns else str(column)
                return bad_request(
                    f"The value of “{name}” in row {at} is not a number for the model. Send a number."
                )
    return bad_request("The rows do not form a table of numbers.")
