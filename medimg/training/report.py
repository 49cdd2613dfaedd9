"""What a run leaves for people to look at, once it is evaluated: pictures, a page, a model card."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from medimg.runs import RunFolder

if TYPE_CHECKING:
    from medimg.data.manifest import Manifest
    from medimg.evaluation.sample import Sample
    from medimg.models.classifier import ImageClassifier
    from medimg.reporting.report.pictures import Picture

log = logging.getLogger(__name__)


def report_run(
    folder: RunFolder, classifier: "ImageClassifier", manifest: "Manifest", samples: Mapping[str, "Sample"]
) -> Mapping[str, "Picture"]:
    """The report of a run whose results this classifier has given; see `report`."""
    return report(folder, lambda _: classifier, manifest, samples)


def report(
    folder: RunFolder,
    classifier_of: Callable[[str], "ImageClassifier"],
    manifest: "Manifest",
    samples: Mapping[str, "Sample"],
) -> Mapping[str, "Picture"]:
    """Writes figures, pictures of the most confident errors, report.html and model_card.md; returns the figures.

    The results are written, so whatever goes wrong here is told and costs nothing else.

    Args:
        folder: of a run or an ensemble.
        classifier_of: for the path of an image, the model whose map of it is shown.
        manifest: the images.
        samples: what was evaluated, by split; errors are those of test, or else of validation.
    """
    from medimg.reporting.error_pictures import write_error_pictures
    from medimg.reporting.report.write import write_report

    try:
        split = next((split for split in ("test", "val") if split in samples), None)
        if split is not None:
            write_error_pictures(folder, classifier_of, manifest, samples[split].predictions, split)
        pictures = write_report(folder.path)
    except Exception as error:  # of whatever kind: a font, a full disk, a damaged file
        log.warning("%s: the report could not be written: %s: %s", folder.shown, type(error).__name__, error)
        log.debug("", exc_info=True)
        again = f"medimg evaluate run={folder.shown}" if folder.run_file.is_file() else "the same command"
        log.warning("the results are whole; %s tries it again", again)
        return {}
    log.info("report: %s/%s", folder.shown, folder.report_file.name)
    return pictures
