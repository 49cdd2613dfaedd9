"""report.html: the page of a run or an ensemble."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from medimg.evaluation.predictions import Predictions
from medimg.reporting.html import data_url, environment
from medimg.reporting.leaderboard import control
from medimg.reporting.mistakes import MOST, confident_mistakes
from medimg.reporting.report import facts, marks, scores
from medimg.reporting.report.cited import Cited
from medimg.reporting.report.pictures import Picture
from medimg.reporting.report.source import Source
from medimg.reporting.scores import SPLIT_WORDS, WHOLE

_WIDEST = 600  # pixels of a picture of an error, image and map side by side


@dataclass(frozen=True)
class _Shown:
    """A figure in the page."""

    title: str
    url: str


@dataclass(frozen=True)
class Mistake:
    """A confident error: what the page says of it, and its picture as a data URL, or why there is none."""

    path: Cited
    label: Cited
    prediction: Cited
    probability: Cited
    url: str | None
    reason: str


def render(source: Source, pictures: Mapping[str, Picture]) -> str:
    """The page as text.

    Args:
        source: what was read from the folder.
        pictures: its figures, by name.
    """
    made = environment("medimg.reporting.report")
    made.tests["number_cell"] = lambda cell: isinstance(cell, marks.Number)
    main = source.splits[0] if source.splits else None
    return made.get_template("report.html.j2").render(
        source=source,
        facts=facts,
        scores=scores,
        marks=marks,
        drawn=lambda *names: [_shown(pictures[name]) for name in names if name in pictures],
        training=[_shown(picture) for name, picture in pictures.items() if name.startswith("training_")],
        main=main,
        kind="Ensemble" if source.info.at("members") else "Run",
        words=SPLIT_WORDS,
        headline={name: WHOLE[name] for name in ("f1_macro", "accuracy", "auroc")},
        mistakes=_mistakes(source, main) if main in source.predictions else [],
        classes=list(source.info.value.get("classes") or ()),
        control=control,
        looks=None if source.looks is None else Cited(source.looks, "runs:looks"),
        today=Cited(datetime.now(UTC).date().isoformat(), "runs:today"),
        all_right=_is_all_right(source.predictions.get(str(main))),
    )


def figure_url(picture: Picture) -> str:
    """The figure as an SVG inside the page."""
    return data_url(picture.svg, "image/svg+xml")


def _shown(picture: Picture) -> _Shown:
    return _Shown(picture.title, figure_url(picture))


def _is_all_right(table: Predictions | None) -> bool:
    return table is not None and bool((table.predicted == table.labels).all())


def _mistakes(source: Source, split: str | None) -> list[Mistake]:
    """The most confident errors of a split, with the pictures that there are of them."""
    table = source.predictions[str(split)]
    rows = Cited.whole([], f"predictions/{split}.csv")
    known = source.errors.value.get("errors", []) if source.errors.value.get("split") == split else []
    pictured = {one["path"]: one for one in known}
    found = []
    for row in confident_mistakes(table, MOST):
        path, label = table.paths[row], table.classes[table.labels[row]]
        prediction = table.classes[table.predicted[row]]
        probability = f"prob_{prediction}"
        url, reason = _picture(source.path, pictured.get(path))
        found.append(
            Mistake(
                Cited(path, rows.at(row, "path").source),
                Cited(label, rows.at(row, "label").source),
                Cited(prediction, rows.at(row, "prediction").source),
                Cited(float(table.probabilities[row].max()), rows.at(row, probability).source),
                url,
                reason,
            )
        )
    return found


def _picture(folder: Path, known: Mapping[str, str | None] | None) -> tuple[str | None, str]:
    """A small JPEG of the picture of an error, or why there is none."""
    from PIL import Image

    if known is None or not known["picture"]:
        return None, str((known or {}).get("reason") or "no picture was made")
    try:
        image = Image.open(folder / known["picture"]).convert("RGB")
    except OSError as error:
        return None, f"the picture cannot be read: {error}"
    image.thumbnail((_WIDEST, _WIDEST))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=80)
    return data_url(stream.getvalue(), "image/jpeg"), str(known.get("without_map") or "")
