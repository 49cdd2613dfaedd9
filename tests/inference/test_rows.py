"""A row says in numbers what the logits say."""

import numpy as np
import pytest
from scipy.special import softmax

from medimg.inference.rows import Table, Tally, as_line, from_line

LOGITS = np.array([0.3, -1.2])


def cells(table: Table, logits: np.ndarray = LOGITS) -> dict[str, str]:
    return dict(zip(table.header, table.row("a.png", logits), strict=True))


def test_probabilities_in_full_precision() -> None:
    found = cells(Table(("x", "y"), temperature=2.5))
    plain, calibrated = softmax(LOGITS), softmax(LOGITS / 2.5)
    for number, name in enumerate("xy"):
        assert float(found[f"prob_{name}"]) == pytest.approx(plain[number], rel=1e-15)
        assert float(found[f"calibrated_{name}"]) == pytest.approx(calibrated[number], rel=1e-15)
    assert (found["path"], found["prediction"], found["error"]) == ("a.png", "x", "")
    assert list(found) == ["path", "prediction", "prob_x", "prob_y", "calibrated_x", "calibrated_y", "error"]


@pytest.mark.parametrize(("threshold", "answer"), [(0.1, "yes"), (float(softmax(LOGITS)[1]), "yes"), (0.2, "no")])
def test_yes_from_the_threshold_on(threshold: float, answer: str) -> None:
    assert cells(Table(("x", "y"), "y", threshold, temperature=9.0))["positive"] == answer


def test_an_answer_that_is_no_number_is_an_error() -> None:
    found = cells(Table(("x", "y"), "y", 0.5), np.array([np.nan, 1.0]))
    assert found["error"] and not found["prediction"] and not found["positive"]


def test_lines_and_back() -> None:
    table = Table(("x", "y"), "y", 0.5, maps=True)
    rows = [table.row('a, "b".png', LOGITS, "t_maps/0.png"), table.failed("ü.png", "no; image")]
    assert [from_line(as_line(row)) for row in rows] == rows
    assert all(len(row) == len(table.header) for row in rows)
    assert from_line(b"\xff\xfe\n") == []


def test_what_rows_come_to() -> None:
    table = Table(("x", "y"), "y", 0.1)
    tally = Tally()
    for number in range(5):
        tally.add(table.failed(f"{number}.png", "broken"), table.header)
    tally.add(table.row("a", LOGITS), table.header)
    assert (tally.classes, tally.positive, tally.failed) == ({"x": 1}, 1, 5)
    assert tally.first_failed == [("0.png", "broken"), ("1.png", "broken"), ("2.png", "broken")]
