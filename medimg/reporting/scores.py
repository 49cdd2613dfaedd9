"""Scores with their intervals, as lines for the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medimg.reporting.tables import terminal_table

if TYPE_CHECKING:
    from medimg.evaluation.comparison import Comparison

WHOLE = {
    "f1_macro": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "mcc": "Matthews correlation",
}
SPLIT_WORDS = {"train": "training images", "val": "validation", "test": "test"}
OF_A_CLASS = {"sensitivity": "sensitivity (recall)", "specificity": "specificity", "precision": "precision", "f1": "F1"}


def score_lines(results: Mapping[str, Any], split: str) -> str:
    """What was measured on a split: a table of scores, and what a reader has to know of them."""
    about = results["evaluation"][split]
    parts = [f"{split}: {counted(about)}", score_table(results, split), *notes(results, split)]
    return "\n".join(part for part in parts if part)


def score_table(results: Mapping[str, Any], split: str) -> str:
    """The scores of the split and of each class, with 95 % intervals, and below the table what is wrong with some."""
    named = [*WHOLE.items(), *((f"patient/{name}", f"{title}, by patient") for name, title in WHOLE.items())]
    about = results["evaluation"][split]
    named += [
        (f"{name}/{label}", f"{title} of {label}") for label in about["by_class"] for name, title in OF_A_CLASS.items()
    ]
    shown = {name: title for name, title in named if name in results[split]}
    marks = footnotes(about["flags"], list(shown))
    rows = [
        [title, _number(results[split][name]), _interval(results, split, name), marks.get(about["flags"].get(name), "")]
        for name, title in shown.items()
    ]
    table = terminal_table(["", "score", "95 % interval", ""], rows)
    return "\n".join([table, *(f"{mark} {remark}" for remark, mark in marks.items())])


def footnotes(flags: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The marks of the remarks on these metrics, `[1]` and so on in their order; the same remark has one mark."""
    remarks = dict.fromkeys(flags[name] for name in names if name in flags)
    return {remark: f"[{number}]" for number, remark in enumerate(remarks, start=1)}


def spoken(point: str) -> str:
    """The name of an operating point in words: `sensitivity at specificity`."""
    return {"argmax": "more probable class"}.get(point, point.replace("_", " "))


def metric_in_words(metric: str) -> str:
    """`val/f1_macro` as `macro-F1 on validation`."""
    split, _, name = metric.rpartition("/")
    words = WHOLE.get(name, name.replace("_", " "))
    return f"{words} on {SPLIT_WORDS.get(split, split)}" if split else words


def counted(about: Mapping[str, Any]) -> str:
    """How many images, and of how many patients or groups."""
    if about["unit"] == "image":
        return f"{about['images']} images; intervals over images, as no patients are known"
    return f"{about['images']} images of {about['units']} {about['unit']}s; intervals over {about['unit']}s"


def notes(results: Mapping[str, Any], split: str) -> list[str]:
    """What a reader has to know of the scores, a line each."""
    about = results["evaluation"][split]
    found = []
    if split in results.get("partial", {}):
        seen, total = results["partial"][split]
        found.append(f"Only {seen} of {total} images were looked at: no scores of the split.")
    if about["absent"]:
        found.append(
            f"No images of {', '.join(about['absent'])}: macro averages are over classes that are there or predicted."
        )
    if results.get("synthetic"):
        found.append("Synthetic images: these scores say nothing about real ones.")
    if results["split_unit"] == "image" and split != "train":
        found.append("Split by image: images of one patient can be on both sides, so these scores may be too good.")
    if split == "train":
        found.append("The model was trained on these images: the scores say how well it knows them by heart.")
    found += _operating_point(results, about)
    if (temperature := results["temperature"])["value"] is None and temperature["reason"]:
        found.append(f"Probabilities are not calibrated: {temperature['reason']}.")
    return [*found, results["caveat"]]


def _operating_point(results: Mapping[str, Any], about: Mapping[str, Any]) -> Sequence[str]:
    chosen = results.get("operating_points")
    here = about["operating_points"].get(chosen["chosen"]) if chosen else None
    if not chosen or not here:
        return []
    return [
        f"Operating point: {_how_chosen(chosen)}: {chosen['positive_class']} from probability "
        f"{here['threshold']:.3f}: sensitivity {_number(here['sensitivity'])}, "
        f"specificity {_number(here['specificity'])}."
    ]


def _how_chosen(chosen: Mapping[str, Any]) -> str:
    name, reason = chosen["chosen"], chosen["reason"]
    if name != "argmax":
        return f"{spoken(name)} ({chosen['points'][name]['rule']}; chosen on {chosen['fitted_on']})"
    return f"the {spoken(name)}" + (f" (no threshold was chosen: {reason})" if reason else "")


def _interval(results: Mapping[str, Any], split: str, name: str) -> str:
    interval = results["ci95"][split].get(name)
    return "" if interval is None else f"{_number(interval[0])} to {_number(interval[1])}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def comparison_lines(found: Sequence["Comparison"], names: tuple[str, str] = ("this run", "the other")) -> str:
    """The differences of two runs, whose names head the columns."""
    header = ["", *names, "difference (95 % interval)", "p"]
    rows = [
        [
            WHOLE[one.metric],
            _number(one.a),
            _number(one.b),
            f"{_number(one.difference)} ({_number(one.ci95[0])} to {_number(one.ci95[1])})",
            _number(one.p_value),
        ]
        for one in found
    ]
    cautions = sorted({one.caution for one in found if one.caution})
    about = f"{found[0].images} images, {found[0].units} resampled as a whole; p by permutation. "
    return "\n".join(
        [terminal_table(header, rows), about + "Another seed of either run would differ as well.", *cautions]
    )
