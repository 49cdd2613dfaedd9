"""A column of a manifest as a few named groups: its values, or bands of its numbers."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"

_MOST = 12
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "unknown", "?"})  # "-" and "none" are findings as well
_NAMING = frozenset({"name", "surname", "birth", "birthday", "birthdate", "dob", "mrn", "ssn", "phone", "address"})
_YEARS = {"": 1.0, "y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}  # as DICOM writes ages: 045Y, 006M


@dataclass(frozen=True)
class Groups:
    """`of_row` names the group of each row; `order` names each group once, as a table should list them."""

    of_row: tuple[str, ...]
    order: tuple[str, ...]


def groups_of(name: str, values: Sequence[str], codes: NDArray[np.integer[Any]]) -> Groups | str:
    """The groups of a column, or why it makes none.

    Ages are bands of ten years, where the column's name has the word `age`. Of others up to 12 different values are a
    group each, and more are quarters of the images, where all are numbers. Blanks, and words such as `nan` and
    `unknown`, are the group `unknown`, which comes last.

    A column makes no groups where all rows are alike, where it has more than 12 values that are no numbers, or where
    it seems to name images or patients, who must not stand in a report: by its own name, or as its values differ in
    every row or, but for numbers with decimals, from one unit to nearly every other.

    Args:
        name: of the column.
        values: one a row.
        codes: int [N], the unit (patient) of each row.
    """
    if _NAMING & set(_words(name)):
        return "by its name it tells patients apart"
    texts = ["" if value.strip().casefold() in _MISSING else value.strip() for value in values]
    known = np.array([bool(text) for text in texts], dtype=bool)
    different = sorted({text for text in texts if text})
    numbers, is_age = _numbers(name, texts)
    measured = is_age or (numbers is not None and any(number % 1 for number in numbers[known]))
    if not measured and _names_rows(texts, codes):
        return "it has a value of its own for every image or patient"
    if numbers is not None and len(np.unique(numbers[known])) < 2:
        return "it is the same for all images"
    if len(different) <= _MOST and not is_age:
        of_row, order = texts, sorted(different, key=_by_number)
    elif numbers is None:
        return f"it has {len(different)} different values; more than {_MOST} make no table, unless all are numbers"
    else:
        of_row, order = _decades(numbers) if is_age else _quarters(numbers)
    found = [text if there else UNKNOWN for text, there in zip(of_row, known, strict=True)]
    order = [*order, *([] if known.all() else [UNKNOWN])]
    if not 1 < len(order) <= _MOST + 1:
        return "it is the same for all images" if len(order) < 2 else f"it makes {len(order)} bands"
    return Groups(tuple(found), tuple(order))


def _names_rows(texts: Sequence[str], codes: NDArray[np.integer[Any]]) -> bool:
    """Whether the values are as good as the names of rows or units."""
    rows = [(text, int(code)) for text, code in zip(texts, codes, strict=True) if text]
    values, units = {text for text, _ in rows}, {code for _, code in rows}
    of_one_unit = len(set(rows)) == len(values)
    return len(values) > 2 and (len(values) == len(rows) or (of_one_unit and 2 * len(values) > len(units)))


def _words(name: str) -> list[str]:
    """`patientName` and `patient_name` as `patient` and `name`."""
    return [word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def _numbers(name: str, texts: Sequence[str]) -> tuple[NDArray[np.float64] | None, bool]:
    """The values as numbers, NaN where blank, or None where one is no number; and whether they are ages in years."""
    is_age = "age" in _words(name)
    numbers = [math.nan if not text else _years(text) if is_age else _number(text) for text in texts]
    if any(number is None for number in numbers):
        return None, False
    return np.array(numbers, dtype=np.float64), is_age


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _years(text: str) -> float | None:
    unit = text[-1].casefold() if text[-1].isalpha() else ""
    number = _number(text[:-1] if unit else text)
    return None if number is None or unit not in _YEARS else number * _YEARS[unit]


def _by_number(text: str) -> tuple[float, str]:
    number = _number(text)
    return (math.inf if number is None else number, text)


def _decades(years: NDArray[np.float64]) -> tuple[list[str], list[str]]:
    tens = np.floor(np.nan_to_num(years) / 10).astype(int) * 10
    present = np.unique(tens[~np.isnan(years)])
    return [f"{ten} to {ten + 9}" for ten in tens], [f"{ten} to {ten + 9}" for ten in present]


def _quarters(numbers: NDArray[np.float64]) -> tuple[list[str], list[str]]:
    """Bands between the quartiles, which are values of the column itself; fewer bands where quartiles are equal."""
    known = numbers[~np.isnan(numbers)]
    second = known[known < known.max()].max()  # so that the last band is never empty
    edges = np.unique(np.minimum(np.quantile(known, [0.25, 0.5, 0.75], method="lower"), second))
    shown = [f"{edge:.12g}" for edge in edges]
    middle = [f"above {low} to {high}" for low, high in itertools.pairwise(shown)]
    names = [f"up to {shown[0]}", *middle, f"above {shown[-1]}"]
    return [names[place] for place in np.searchsorted(edges, np.nan_to_num(numbers), side="left")], names
