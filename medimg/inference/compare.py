"""Two runs on the same images, patient by patient."""

from dataclasses import asdict

from medimg.errors import RequestError
from medimg.evaluation.comparison import Comparison, compare
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.files import write_json
from medimg.runs import RunFolder

METRICS = ("f1_macro", "accuracy", "auroc")


def compare_runs(place: RunFolder, run: RunFolder, other: RunFolder, split: str, sample: Sample) -> list[Comparison]:
    """The differences of an evaluation from the same one of another run; written to `comparisons/` beside it.

    Args:
        place: where the evaluation is: the run's own folder, or one below its `evaluations/`.
        run: that was evaluated.
        other: the other run, or an ensemble.
        split: of the images.
        sample: of this run, for its patients.

    Raises:
        RequestError: the other run has no such evaluation, or one of other images.
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
    found = [compare(sample.predictions, theirs, sample.units, metric, positive=sample.positive) for metric in METRICS]
    write_json(
        place.path / "comparisons" / f"{other.path.name}-{split}.json",
        {"run": str(other.path), "split": split, "comparisons": [asdict(one) for one in found]},
    )
    return found
