"""The chemical measures of a wine, as the model takes them. Used by training and by the inference code."""

import math

MEASURES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280_od315",
    "proline",
)


def features(record):
    """One row for the model: every measure, then the share of flavanoids in the phenols.

    A measure that was not taken is null or left out; the model fills it in. Raises ValueError with the name
    of a measure that is unknown or no number.
    """
    unknown = sorted(set(record) - set(MEASURES))
    if unknown:
        raise ValueError(f"unknown measures: {', '.join(unknown)}")
    row = [_number(name, record.get(name)) for name in MEASURES]
    phenols, flavanoids = (row[MEASURES.index(name)] for name in ("total_phenols", "flavanoids"))
    return [*row, flavanoids / phenols if phenols else math.nan]


def _number(name, value):
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is not a number")
    return float(value)
