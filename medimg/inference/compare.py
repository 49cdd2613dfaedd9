"""Two runs on the same images, patient by patient."""

from dataclasses import asdict

from medimg.data.manifest import Manifest, Split, examples
from medimg.errors import RequestError
from medimg.evaluation.comparison import Comparison, compare
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.files import write_json
from medimg.runs import RunFolder

METRICS = ("f1_macro", "accuracy", "auroc")


def other_table(place: RunFolder, run: RunFolder, other: RunFolder, split: Split, manifest: Manifest) -> Predictions:
    """What the other run has said of the same images.

    Args:
        place: where the evaluation of this run goes: its own folder, or one below its `evaluations/`.
        run: this run.
        other: the other run, or an ensemble.
        split: of the images.
        manifest: the images.

    Raises:
        RequestError: the other run has no such evaluation, or one of other images or classes.
    """
    twin = RunFolder(other.path / place.path.relative_to(run.path))
    file = twin.predictions(split)
    if not file.is_file():
        raise RequestError(
            f"compare={other.shown}: it has no {file.relative_to(other.path)}\n"
            f"  medimg evaluate run={other.shown} split={split} with the same other keys makes it; "
            "for an ensemble, medimg ensemble does"
        )
    theirs = Predictions.read_csv(file)
    if set(theirs.classes) != set(manifest.classes):
        raise RequestError(
            f"compare={other.shown}: its classes are {', '.join(theirs.classes)}, "
            f"and those of {run.shown} are {', '.join(manifest.classes)}"
        )
    mine = {record.path for record in manifest.of(split)}
    if different := sorted(mine ^ set(theirs.paths)):
        raise RequestError(
            f"compare={other.shown}: it has not the same {split} images as {run.shown}: {len(different)} are in one "
            f"of them alone ({examples(different)})\n  runs of one data set share them where data.split_seed, "
            "data.folds and data.fold are the same"
        )
    return theirs


def compare_with(
    theirs: Predictions, place: RunFolder, other: RunFolder, split: Split, sample: Sample
) -> list[Comparison]:
    """The differences of an evaluation from the same one of another run; written to `comparisons/` beside it.

    Args:
        theirs: see `other_table`.
        place: where the evaluation is.
        other: the other run, or an ensemble.
        split: of the images.
        sample: of this run, for its patients.

    Raises:
        RequestError: classes have another order there, or an image another label.
    """
    found = [compare(sample.predictions, theirs, sample.units, metric, positive=sample.positive) for metric in METRICS]
    write_json(
        place.path / "comparisons" / f"{other.path.name}-{split}.json",
        {"run": str(other.path), "split": split, "comparisons": [asdict(one) for one in found]},
    )
    return found
