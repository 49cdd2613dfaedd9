"""What another run has said of the images that a run is compared on; nothing heavy is loaded."""

from medimg.data.manifest import Manifest, Split, examples
from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.runs import RunFolder


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
