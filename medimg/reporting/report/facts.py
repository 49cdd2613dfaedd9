"""Tables of what a run is: its data, its model, its training, its versions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup

from medimg.checks.findings import KINDS, SEVERITIES
from medimg.data.manifest import GROUP_COLUMN, SPLITS
from medimg.reporting.report.cited import Cited
from medimg.reporting.report.marks import Number, Table, count, listed, metric, score, setting, size, text, time
from medimg.reporting.report.source import Source

_SHOWN = 5  # findings of a kind


def data_facts(source: Source) -> Table:
    """Which images, and how they are shown to the model."""
    data, info = source.config.at("data"), source.info
    shown = info.at("preprocessing")
    rows = _known(
        ("data set", data.at("name"), text),
        ("where it is", data.at("root"), text),
        ("classes", info.at("classes"), listed),
        ("positive class", info.at("positive_class"), text),
        ("folds", data.at("folds"), setting),
        ("held-out fold", data.at("fold"), setting),
        ("images left out as unreadable", info.at("skipped", "count"), count),
        ("CT window", data.at("window"), setting),
        ("part that is shown", data.at("region"), text),
        ("how images get their size", shown.at("resizing"), text),
    )
    if shown:
        sides = Markup("{} x {} pixels").format(setting(shown.at("height")), setting(shown.at("width")))
        rows.append(["size", sides])
    return Table(["", ""], rows)


def training_facts(source: Source) -> Table:
    """The model and how it was trained."""
    config, info = source.config, source.info
    model = config.at("model")
    rows = _known(
        ("model", model.at("name"), text),
        ("backbone", model.at("backbone"), text),
        ("starting weights", model, _weights),
        ("frozen trunk", model.at("freeze"), setting),
        ("parameters", info.at("parameters", "total"), size),
        ("of these trained", info.at("parameters", "trained"), size),
        ("loss", config.at("loss", "_target_"), _short),
        ("class weights", info.at("class_weights"), _named),
        ("optimizer", config.at("optimizer", "_target_"), _short),
        ("learning rate", config.at("optimizer", "lr"), setting),
        ("weight decay", config.at("optimizer", "weight_decay"), setting),
        ("schedule", config.at("scheduler", "_target_"), _short),
        ("batch size", config.at("data", "batch_size"), setting),
        ("augmentation", config.at("augment"), _switched_on),
        ("epochs at most", config.at("trainer", "max_epochs"), setting),
        ("chosen epoch, counted from 0", source.results.at("best_epoch"), setting),
        ("chosen by", info.at("monitor", "metric"), metric),
        ("seed", info.at("seed"), setting),
        ("device", info.at("device"), text),
        ("precision", info.at("precision"), text),
        ("time", info.at("seconds"), time),
    )
    return Table(["", ""], rows)


def members_table(source: Source) -> Table:
    """The runs of an ensemble; no rows for a run."""
    names = {"seed": setting, "fold": setting, "value": score, "checkpoint": text, "run": text}
    rows = [
        [show(member.at(name)) if member.at(name).known else "" for name, show in names.items()]
        for _, member in source.info.at("members").parts()
    ]
    return Table.filled(["seed", "fold", "validation score", "checkpoint", "run"], rows)


def images_table(source: Source) -> Table:
    """Images by split and class, and how many patients or groups they are of."""
    classes = [str(name) for name in source.info.value.get("classes") or ()]
    unit = unit_column(source)
    rows = []
    for split in (split for split in SPLITS if source.info.at("counts", split)):
        cells = []
        for label in classes:
            images = count(source.info.at("counts", split, label))
            cells.append(Number(images + (_of_units(_distinct(source, unit, split, label), unit) if unit else "")))
        rows.append([split, *cells])
    return Table(["split", *classes], rows)


def _of_units(number: Cited, column: str) -> Markup:
    kind = {"patient_id": "patient"}.get(column, "group")
    return Markup(" images of {} {}").format(count(number), kind if number.value == 1 else f"{kind}s")


def unit_column(source: Source) -> str | None:
    """The column of the manifest that says what belongs together: `patient_id`, the group, or none."""
    rows = source.images.value
    return next((name for name in ("patient_id", GROUP_COLUMN) if any(row.get(name) for row in rows)), None)


@dataclass(frozen=True)
class Finding:
    """What a check found of one kind."""

    severity: str
    title: str
    messages: list[Cited]
    more: int
    cures: list[Cited]


def findings(source: Source) -> list[Finding]:
    """The findings of the check before training, by severity and kind."""
    by_kind: dict[tuple[str, str], list[Cited]] = {}
    for _, one in source.check.at("findings").parts():
        by_kind.setdefault((one.value["severity"], one.value["kind"]), []).append(one)
    order = sorted(by_kind, key=lambda key: SEVERITIES.index(key[0]) if key[0] in SEVERITIES else len(SEVERITIES))
    return [
        Finding(
            severity,
            KINDS.get(kind, kind),
            (shown := _messages(by_kind[severity, kind])),
            len(by_kind[severity, kind]) - len(shown),
            list({one.value["cure"]: one.at("cure") for one in by_kind[severity, kind] if one.value["cure"]}.values()),
        )
        for severity, kind in order
    ]


def _messages(found: Sequence[Cited]) -> list[Cited]:
    """The first few that differ."""
    differing: dict[str, Cited] = {}
    for one in found:
        differing.setdefault(one.value["message"], one.at("message"))
    return list(differing.values())[:_SHOWN]


def versions_table(source: Source) -> Table:
    """The packages that can change a result, and the state of the code."""
    rows = [[str(name), text(found)] for name, found in source.info.at("versions").parts() if found]
    git = source.info.at("git")
    if git:
        changed = " (with changes that are not committed)" if git.value.get("dirty") else ""
        rows.append(["git commit of the working directory", text(git.at("commit")) + changed])
    return Table(["", ""], rows)


def _known(*facts: tuple[str, Cited, Callable[[Cited], Markup]]) -> list[list[str | Markup]]:
    """Rows of what is known; what is not has no row."""
    return [[title, show(value)] for title, value, show in facts if value.known and value.value not in ("", {}, [])]


def _distinct(source: Source, column: str, split: str, label: str) -> Cited:
    rows = source.images.value
    names = {row[column] for row in rows if row["split"] == split and row["label"] == label and row.get(column)}
    return Cited(len(names), f"manifest.csv?{urlencode({'distinct': column, 'split': split, 'label': label})}")


def _short(target: Cited) -> Markup:
    """The last part of a dotted name."""
    return Markup('<span title="{}">{}</span>').format(target.value, str(target.value).rpartition(".")[2])


def _weights(model: Cited) -> Markup:
    named = [model.at(key) for key in ("init_from", "weights") if model.at(key)]
    return text(named[0]) if named else Markup("none: from scratch")


def _named(values: Cited) -> Markup:
    return _joined(values.parts())


def _switched_on(values: Cited) -> Markup:
    return _joined((name, value) for name, value in values.parts() if value)


def _joined(parts: Iterable[tuple[str | int, Cited]]) -> Markup:
    shown = [Markup("{} {}").format(str(name), setting(value)) for name, value in parts]
    return Markup(", ").join(shown) or Markup("none")
