"""Shortcuts: what gives the class away and is not the disease."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from medimg.checks.association import Strength, Units, association, levels
from medimg.checks.findings import Comparison, Finding
from medimg.checks.probe import probe
from medimg.data.manifest import Manifest
from medimg.data.similarity import Pair, clusters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.01  # the chance that one or more of all comparisons is reported where no class differs in anything
WEAK = {"V": 0.2, "AUC": 0.6}  # below, nothing is reported, however sure it is
STRONG = {"V": 0.5, "AUC": 0.75}  # from here on it is a warning
_FEWEST = 5  # units a class: with fewer, nothing can be told
_SAMPLE = 4000  # images that the probes are made on, by whole patients...
_TARGETS = 20_000  # ...and fewer where images times classes would be more than this: a probe takes that many seconds
_MOST_CLASSES = 20  # that a probe tells apart


class Shortcuts:
    """Compares the class with one thing after another, and judges all of them together at `LEVEL` (Bonferroni).

    Args:
        manifest: the images.
        groups: a number for each image; images of one group are kept together.
        unit: what such a group is called.
        planned: how many comparisons there will be.
    """

    def __init__(self, manifest: Manifest, groups: Sequence[int], unit: str, planned: int) -> None:
        import numpy as np

        self.classes = sorted({record.label for record in manifest.records})
        names = {label: index for index, label in enumerate(self.classes)}
        self.labels = np.array([names[record.label] for record in manifest.records], np.int64)
        self.groups = np.array(groups, np.int64)
        self.units = Units(self.groups, self.labels)
        self.unit = unit
        self.planned = max(planned, 1)
        # twice as many as the smallest p that can count needs
        self.permutations = max(1000, round(2 * self.planned / LEVEL))
        self.comparisons: list[Comparison] = []
        self.findings: list[Finding] = []

    def compare_column(self, what: str, values: Sequence[str | None]) -> None:
        """Compares the class with a column of texts."""
        if len(set(values)) > 1 and _enough(self.units):
            self._judge(what, "V", association(levels(values), self.units, self.permutations))

    def compare_features(self, what: str, features: "Mapping[int, Sequence[float] | NDArray[np.float32]]") -> None:
        """Compares the class with numbers of each image; `features` holds them by the image's position.

        Of many classes only the most common ones are told apart, which the comparison then says.
        """
        import numpy as np

        places, classes = self._of_common_classes(np.array(sorted(features), np.int64))
        places = _sampled(places, self.groups, min(_SAMPLE, _TARGETS // max(classes, 1)))
        if not len(places):
            return
        units = Units(self.groups[places], np.unique(self.labels[places], return_inverse=True)[1])
        if _enough(units):
            numbers = np.array([features[place] for place in places.tolist()], float)
            some = f" (the {classes} most common of {len(self.classes)} classes)" if classes < len(self.classes) else ""
            self._judge(what + some, "AUC", probe(numbers, units, self.permutations))

    def _of_common_classes(self, places: "NDArray[np.int64]") -> tuple["NDArray[np.int64]", int]:
        """The images of those classes that have the most of these images, and how many classes that are."""
        import numpy as np

        found, counts = np.unique(self.labels[places], return_counts=True)
        common = found[np.argsort(-counts, kind="stable")[:_MOST_CLASSES]]
        return places[np.isin(self.labels[places], common)], len(common)

    def _judge(self, what: str, measure: Literal["V", "AUC"], result: Strength) -> None:
        sure = result.p * self.planned <= LEVEL
        suspicious = sure and result.value >= WEAK[measure]
        self.comparisons.append(Comparison(what, measure, round(result.value, 4), result.p, suspicious))
        if suspicious:
            severity: Literal["warning", "note"] = "warning" if result.value >= STRONG[measure] else "note"
            told = f"goes with {what}: Cramér's V" if measure == "V" else f"can be told from {what} alone: AUC"
            message = f"The class {told} {result.value:.2f} (p {result.p:.2g})."
            self.findings.append(Finding("shortcut", severity, (), message, _cure(measure)))


def meaning(unit: str) -> str:
    """What the numbers in the messages of shortcuts mean, `unit` being what was kept together."""
    return (
        "Cramér's V: 0 not at all, 1 fully. AUC: of a linear probe, cross-validated with whole "
        f"{unit}, 0.50 being chance. p: by permuting the labels of whole {unit}."
    )


def groups_of(manifest: Manifest, pairs: Sequence[Pair]) -> tuple[list[int], str]:
    """A group for each image, and what groups are called: patients where all are known, else look-alikes together."""
    names: dict[str, int] = {}
    known = [record.patient_id or (record.group and f"group {record.group}") for record in manifest.records]
    together = clusters(len(known), pairs)
    group = [0] * len(known)
    for members in together:
        for place in members:
            patient = known[place]
            # negative numbers for clusters, so that they meet no patient's
            group[place] = names.setdefault(patient, len(names)) if patient else -1 - members[0]
    if all(known):
        return group, "patients" if all(record.patient_id for record in manifest.records) else "groups"
    lookalikes = "groups of look-alikes" if pairs else "images"
    return group, f"patients or {lookalikes}" if any(known) else lookalikes


def _enough(units: Units) -> bool:
    """Whether two classes or more have some units."""
    import numpy as np

    return int((np.bincount(units.label) >= _FEWEST).sum()) > 1


def _sampled(places: "NDArray[np.int64]", groups: "NDArray[np.int64]", most: int) -> "NDArray[np.int64]":
    """At most so many of these images: whole groups, drawn at random with a fixed seed."""
    import numpy as np

    if len(places) <= most:
        return places
    _, group, sizes = np.unique(groups[places], return_inverse=True, return_counts=True)
    kept, count = np.zeros(len(sizes), bool), 0
    for drawn in np.random.default_rng(0).permutation(len(sizes)):
        if count + sizes[drawn] <= most:
            kept[drawn], count = True, count + sizes[drawn]
    return places[kept[group]]


def _cure(measure: str) -> str:
    if measure == "V":
        return (
            "This is a suspicion, no proof. If it is not the disease itself, compare classes within one value of it, "
            "balance the classes over it, or test on data where the two do not go together."
        )
    return (
        "A model may learn this instead of the disease, which is a suspicion and no proof: take the classes from the "
        "same sources, prepare all images in the same way, crop what is not the organ, and test on data from elsewhere."
    )
