import math

from medimg.reporting.scores import score_lines


def results(**changes: object) -> dict:
    about = {
        "images": 30,
        "unit": "patient",
        "units": 12,
        "by_class": {"a": {}, "b": {}},
        "absent": [],
        "flags": {"f1_macro": "unsafe: few", "accuracy": "unsafe: few", "f1/a": "degenerate"},
        "operating_points": {},
    }
    scores = {"f1_macro": 0.81234, "accuracy": 0.9, "auroc": math.nan, "f1/a": 1.0}
    return {
        "split_unit": "patient",
        "test": scores,
        "ci95": {"test": {"f1_macro": [0.7, 0.9]}},
        "evaluation": {"test": about | changes},
        "temperature": {"value": 1.2, "reason": None},
        "caveat": "They leave out training.",
    }


def test_each_remark_is_told_once_below_the_table() -> None:
    lines = score_lines(results(), "test").splitlines()
    assert lines[0] == "test: 30 images of 12 patients; intervals over patients"
    assert next(line for line in lines if line.startswith("macro-F1")).split() == [
        *("macro-F1", "0.812", "0.700", "to", "0.900", "[1]")
    ]
    assert next(line for line in lines if line.startswith("AUROC")).split() == ["AUROC", "-"]
    assert [line for line in lines if line.startswith("[")] == ["[1] unsafe: few", "[2] degenerate"]
    assert lines[-1] == "They leave out training."


def test_the_operating_point_is_told_once() -> None:
    here = {"threshold": 0.5, "sensitivity": 0.75, "specificity": 1.0}
    points = {"argmax": {"threshold": 0.5, "rule": "the more probable class"}, "youden": {"rule": "largest"}}
    given = {"chosen": "argmax", "points": points, "reason": "few", "fitted_on": None, "positive_class": "b"}
    said = score_lines(results(operating_points={"argmax": here, "youden": here}) | {"operating_points": given}, "test")
    start = "Operating point: the more probable class (no threshold was chosen: few): b from probability 0.500"
    assert start in said
    chosen = given | {"chosen": "youden", "reason": None, "fitted_on": "val"}
    said = score_lines(results(operating_points={"youden": here}) | {"operating_points": chosen}, "test")
    assert "Operating point: youden (largest; chosen on val): b from" in said


def test_what_the_split_lacks_is_named() -> None:
    assert "No images of b:" in score_lines(results(absent=["b"]), "test")
    assert "as no patients are known" in score_lines(results(unit="image"), "test")
