"""Tables of what was measured on a split."""

from markupsafe import Markup

from medimg.reporting.report.cited import Cited
from medimg.reporting.report.marks import Number, Remarks, Table, count, interval, score, setting, text, with_interval
from medimg.reporting.report.source import Source
from medimg.reporting.scores import OF_A_CLASS, WHOLE, spoken

_OF_A_CLASS = OF_A_CLASS | {"auroc": "AUROC", "average_precision": "average precision"}
_RATES = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
_CELLS = {"tp": "true positives", "fp": "false positives", "tn": "true negatives", "fn": "false negatives"}
_FEW_CLASSES = 5  # side by side, they fit a screen with their intervals


def whole_scores(source: Source, split: str, prefix: str = "") -> Table:
    """The scores of all images, or with the prefix `patient/` of all patients."""
    scores, intervals = source.results.at(split), source.results.at("ci95", split)
    about = source.about(split)
    by_image = about.at("ci95_by_image") if not prefix else Cited(None, "")
    shown = {f"{prefix}{name}": title for name, title in WHOLE.items() if f"{prefix}{name}" in scores.value}
    remarks = Remarks({key: about.at("flags", key) for key in shown})
    header = ["", "score", "95 % interval", *(["interval if images were independent"] if by_image else [])]
    rows = []
    for key, title in shown.items():
        extra = [interval(by_image.at(key))] if by_image else []
        rows.append([title, score(scores.at(key)), Number(interval(intervals.at(key)) + remarks.mark(key)), *extra])
    return Table.filled(header, rows, remarks.notes())


def class_scores(source: Source, split: str) -> Table:
    """Counts and scores of each class: a column a class where they are few, else a row."""
    scores, intervals = source.results.at(split), source.results.at("ci95", split)
    about = source.about(split)
    labels = [str(label) for label, _ in about.at("by_class").parts()]
    names = {
        name: title for name, title in _OF_A_CLASS.items() if any(f"{name}/{label}" in scores.value for label in labels)
    }
    remarks = Remarks(
        {key: about.at("flags", key) for name in names for key in (f"{name}/{label}" for label in labels)}
    )
    unit = str(about.at("unit").value)
    rows: list[list[str | Markup]] = [
        [title, *(count(about.at("by_class", label, kind)) for label in labels)]
        for kind, title in {"images": "images", "units": f"{unit}s"}.items()
        if (kind, unit) != ("units", "image")
    ]
    for name, title in names.items():
        keys = [f"{name}/{label}" for label in labels]
        cells = [with_interval(scores.at(key), intervals.at(key)) + remarks.mark(key) for key in keys]
        rows.append([title, *map(Number, cells)])
    found = Table(["", *labels], rows, remarks.notes())
    return found if len(labels) <= _FEW_CLASSES else turned(found, "class")


def turned(table: Table, corner: str) -> Table:
    """With its rows as columns."""
    first, *columns = zip(table.header, *table.rows, strict=True)
    return Table([corner, *first[1:]], columns, table.notes)


def confusion_table(confusion: Cited, classes: list[str]) -> Table:
    """Counts, a row for each true class."""
    header = ["true \\ predicted", *classes]
    rows = zip(classes, confusion.parts(), strict=True)
    return Table(header, [[label, *(count(one) for _, one in row.parts())] for label, (_, row) in rows])


def points_table(source: Source, split: str) -> Table:
    """What each operating point does, a column each; the one that answers yes or no is marked."""
    chosen = source.results.at("operating_points")
    applied = source.about(split).at("operating_points")
    titles = ["", "threshold", *_RATES.values(), *_CELLS.values(), "rule"]
    columns: list[list[str | Markup]] = []
    for name, point in chosen.at("points").parts():
        here, rule = applied.at(name), Markup("") if name == "argmax" else text(point.at("rule"))
        title = spoken(str(name)) + (" (in use)" if name == chosen.at("chosen").value else "")
        if not here:
            reason = point.at("reason")
            rule += Markup("; not met: {}").format(text(reason)) if reason else Markup("")
            columns.append([title, *[Number("-")] * (len(titles) - 2), rule])
            continue
        rates = [with_interval(here.at(rate), here.at("ci95", rate)) for rate in _RATES]
        counts = [count(here.at(cell)) for cell in _CELLS]
        columns.append([title, score(here.at("threshold")), *rates, *counts, rule])
    return turned(Table.filled(titles, columns), "")


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
    names = list(dict.fromkeys(str(name) for _, row in rows.parts() for name, _ in row.at("metrics").parts()))
    remarks = Remarks({str(place): row.at("note") for place, row in rows.parts()})
    found = []
    for place, row in rows.parts():
        units = [count(row.at("units"))] if unit != "image" else []
        cells = [score(row.at("metrics", name)) if row.at("metrics") else Number("-") for name in names]
        group = text(row.at("group")) + remarks.mark(str(place))
        found.append([group, count(row.at("images")), *units, *cells])
    header = ["group", "images", *([f"{unit}s"] if unit != "image" else []), *(WHOLE.get(name, name) for name in names)]
    return Table.filled(header, found, remarks.notes())


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
        [setting(of_metric.at(names[0])), ", ".join(dict.fromkeys(_kind(name) for name in names))]
        for names in by_method.values()
    ]
    return Table(["method", "metrics"], rows)
