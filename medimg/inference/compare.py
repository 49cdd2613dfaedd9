"""Two runs on the same images, patient by patient."""

from dataclasses import asdict

from medimg.data.manifest import Split
from medimg.evaluation.comparison import Comparison, compare
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.files import write_json
from medimg.runs import RunFolder

METRICS = ("f1_macro", "accuracy", "auroc")


def compare_with(
    theirs: Predictions, place: RunFolder, other: RunFolder, split: Split, sample: Sample
) -> list[Comparison]:
    """The differences of an evaluation from the same one of another run; written to `comparisons/` beside it.

    Args:
        theirs: see `medimg.inference.other_table`.
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
