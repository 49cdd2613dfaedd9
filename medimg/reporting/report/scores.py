"""Tables of what was measured on a split."""

from markupsafe import Markup

from medimg.reporting.report.cited import Cited
from medimg.reporting.report.marks import Number, Table, count, interval, listed, score, setting, text, with_interval
from medimg.reporting.report.source import Source
from medimg.reporting.scores import OF_A_CLASS, WHOLE

_OF_A_CLASS = OF_A_CLASS | {"auroc": "AUROC", "average_precision": "average precision"}
_RATES = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}


def whole_scores(source: Source, split: str, prefix: str = "") -> Table:
    """The scores of all images, or with the prefix `patient/` of all patients."""
    scores, intervals = source.results.at(split), source.results.at("ci95", split)
    about = source.about(split)
    by_image = about.at("ci95_by_image") if not prefix else Cited(None, "")
    header = ["", "score", "95 % interval", *(["interval if images were independent"] if by_image else []), "remark"]
    rows = []
    for name, title in WHOLE.items():
        key = f"{prefix}{name}"
        if key in scores.value:
            extra = [interval(by_image.at(key))] if by_image else []
            flag = about.at("flags", key)
            shown = [score(scores.at(key)), interval(intervals.at(key)), *extra]
            rows.append([title, *shown, text(flag) if flag else ""])
    return Table.filled(header, rows)


def class_scores(source: Source, split: str) -> Table:
    """A row for each class, with counts."""
    scores, intervals = source.results.at(split), source.results.at("ci95", split)
    about = source.about(split)
    names = {
        name: title
        for name, title in _OF_A_CLASS.items()
        if any(f"{name}/{label}" in scores.value for label, _ in about.at("by_class").parts())
    }
    unit = about.at("unit").value
    header = ["class", "images", *([f"{unit}s"] if unit != "image" else []), *names.values()]
    rows = []
    for label, counts in about.at("by_class").parts():
        units = [count(counts.at("units"))] if unit != "image" else []
        keys = [f"{name}/{label}" for name in names]
        cells = [with_interval(scores.at(key), intervals.at(key)) for key in keys]
        rows.append([str(label), count(counts.at("images")), *units, *cells])
    return Table(header, rows)


def confusion_table(confusion: Cited, classes: list[str]) -> Table:
    """Counts, a row for each true class."""
    header = ["true \\ predicted", *classes]
    rows = zip(classes, confusion.parts(), strict=True)
    return Table(header, [[label, *(count(one) for _, one in row.parts())] for label, (_, row) in rows])


def points_table(source: Source, split: str) -> Table:
    """What each operating point does; the one that answers yes or no is marked."""
    chosen = source.results.at("operating_points")
    applied = source.about(split).at("operating_points")
    header = ["", "threshold", *_RATES.values(), "TP", "FP", "TN", "FN", "rule"]
    rows: list[list[str | Markup]] = []
    for name, point in chosen.at("points").parts():
        here, rule = applied.at(name), text(point.at("rule"))
        title = spoken(str(name)) + (" (in use)" if name == chosen.at("chosen").value else "")
        if not here:
            reason = point.at("reason")
            rule += Markup("; not met: {}").format(text(reason)) if reason else Markup("")
            rows.append([title, *[Number("")] * (len(header) - 2), rule])
            continue
        rates = [with_interval(here.at(rate), here.at("ci95", rate)) for rate in _RATES]
        counts = [count(here.at(cell)) for cell in ("tp", "fp", "tn", "fn")]
        rows.append([title, score(here.at("threshold")), *rates, *counts, rule])
    return Table(header, rows)


def spoken(name: str) -> str:
    """The name of an operating point in words: `sensitivity at specificity`."""
    return name.replace("_", " ")


def calibration_table(source: Source, split: str) -> Table:
    """How far probabilities are from the truth, before and after the temperature."""
    found = source.about(split).at("calibration")
    kinds = {"plain": "as the model says", "calibrated": "at the fitted temperature"}
    rows = [
        [title, *(score(found.at(kind, name)) for name in ("ece", "brier", "log_loss"))]
        for kind, title in kinds.items()
        if found.at(kind)
    ]
    return Table(["probabilities", "expected calibration error", "Brier score", "log loss"], rows)


def subgroup_table(rows: Cited, unit: str) -> Table:
    """The groups of one column of the manifest."""
    names = list(dict.fromkeys(name for _, row in rows.parts() for name, _ in row.at("metrics").parts()))
    titles = [WHOLE.get(str(name), str(name)) for name in names]
    found = []
    for _, row in rows.parts():
        units = [count(row.at("units"))] if unit != "image" else []
        cells = [score(row.at("metrics", name)) if row.at("metrics") else Number("") for name in names]
        found.append([text(row.at("group")), count(row.at("images")), *units, *cells, _remark(row)])
    return Table.filled(["group", "images", *([f"{unit}s"] if unit != "image" else []), *titles, "remark"], found)


def _remark(row: Cited) -> Markup:
    said = [text(row.at("note"))] if row.at("note") else []
    said += [Markup("no images of {}").format(listed(row.at("absent")))] if row.at("absent") else []
    return Markup("; ").join(said)


def _kind(metric: str) -> str:
    """The title of a metric, the same for all classes."""
    name = metric.partition("/")[0]
    titles = WHOLE | _OF_A_CLASS | {"precision_macro": "macro precision", "recall_macro": "macro recall"}
    return titles.get(name, name)


def method_table(source: Source, split: str) -> Table:
    """How each interval was computed, the metrics of one method together."""
    of_metric = source.about(split).at("method")
    by_method: dict[str, list[str]] = {}
    for name, method in of_metric.parts():
        by_method.setdefault(str(method.value), []).append(str(name))
    rows = [
        [", ".join(dict.fromkeys(_kind(name) for name in names)), setting(of_metric.at(names[0]))]
        for names in by_method.values()
    ]
    return Table(["metrics", "95 % interval by"], rows)
