"""Shortcuts: what gives the class away and is not the disease."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from medimg.checks.association import Strength, Units, association, levels
from medimg.checks.files import Header
from medimg.checks.findings import Comparison, Finding
from medimg.checks.looks import FRAME, GRID, Look, Seen
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
_SAMPLE = 4000  # images that the probes are made on, by whole patients
_COMPONENTS = 24  # of the border
_BINS = 5


class Shortcuts:
    """Compares the class with one thing after another, and judges all of them together at `LEVEL` (Bonferroni).

    Args:
        manifest: the images.
        groups: a number for each image; images of one group are kept together.
        unit: what such a group is called.
        planned: how many comparisons there will be.
    """

    def __init__(self, manifest: Manifest, groups: Sequence[int], unit: str, planned: int) -> None:
        names = {label: index for index, label in enumerate(sorted({record.label for record in manifest.records}))}
        self.labels = [names[record.label] for record in manifest.records]
        self.groups = groups
        self.unit = unit
        self.planned = max(planned, 1)
        # twice as many as the smallest p that can count needs
        self.permutations = max(1000, round(2 * self.planned / LEVEL))
        self.comparisons: list[Comparison] = []
        self.findings: list[Finding] = []

    def enough(self, places: Sequence[int]) -> bool:
        """Whether two classes or more have some units among these images."""
        units: dict[int, set[int]] = {}
        for place in places:
            units.setdefault(self.labels[place], set()).add(self.groups[place])
        return sum(len(members) >= _FEWEST for members in units.values()) > 1

    def compare_column(self, what: str, values: Sequence[str | None]) -> None:
        """Compares the class with a column of texts."""
        places = range(len(values))
        if len(set(values)) > 1 and self.enough(places):
            result = association(levels(values), Units(self.groups, self.labels), self.permutations)
            self._judge(what, "V", result)

    def compare_features(self, what: str, features: "Mapping[int, Sequence[float] | NDArray[np.float32]]") -> None:
        """Compares the class with numbers of each image; `features` holds them by the image's position."""
        import numpy as np

        places = _sampled(sorted(features), self.groups)
        if not self.enough(places):
            return
        units = Units([self.groups[place] for place in places], [self.labels[place] for place in places])
        numbers = np.array([features[place] for place in places], float)
        self._judge(what, "AUC", probe(numbers, units, self.permutations))

    def _judge(self, what: str, measure: Literal["V", "AUC"], result: Strength) -> None:
        sure = result.p * self.planned <= LEVEL
        suspicious = sure and result.value >= WEAK[measure]
        self.comparisons.append(Comparison(what, measure, round(result.value, 4), result.p, suspicious))
        if suspicious:
            severity: Literal["warning", "note"] = "warning" if result.value >= STRONG[measure] else "note"
            self.findings.append(Finding("shortcut", severity, (), self._told(what, measure, result), _cure(measure)))

    def _told(self, what: str, measure: str, result: Strength) -> str:
        chance = f"p {result.p:.2g} by permuting the labels of whole {self.unit}"
        if measure == "V":
            return f"The class goes with {what}: Cramér's V {result.value:.2f} (0: not at all, 1: fully; {chance})."
        return (
            f"The class can be told from {what} alone: AUC {result.value:.2f}, cross-validated with whole {self.unit} "
            f"(0.50 is chance; {chance})."
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


def file_features(headers: Sequence[Header | None], looks: Sequence[Seen]) -> "dict[int, Sequence[float]]":
    """What is no content of an image: format, mode, depth, size, aspect, length of the file, brightness, contrast.

    Numbers are in quantile bins, so that a linear probe sees a class of mid-sized images too.
    """
    import numpy as np
    from sklearn.preprocessing import KBinsDiscretizer

    places = [
        i for i, (header, look) in enumerate(zip(headers, looks, strict=True)) if header and isinstance(look, Look)
    ]
    pairs = [(headers[i], looks[i]) for i in places]
    numbers, kinds = [], []
    for header, look in pairs:
        assert header is not None and isinstance(look, Look)  # chosen so above
        height, width = look.size
        per_pixel = header.length / (height * width)
        brightness, contrast = float(look.means.mean()), float(look.means.std() + look.spreads.mean())
        numbers.append([height, width, width / height, per_pixel, brightness, contrast, look.black, look.white])
        kinds.append((header.format, header.mode, str(header.bits)))
    if not places:
        return {}
    table = np.array(numbers)
    table = table[:, table.min(axis=0) < table.max(axis=0)]
    parts = [np.array([[kind == one for one in sorted(set(kinds))] for kind in kinds], float)]
    if table.shape[1]:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bins of the same edges are joined, as they should be
            bins = KBinsDiscretizer(_BINS, encode="onehot-dense", strategy="quantile", subsample=None)
            parts += [bins.fit_transform(table), table]
    return dict(zip(places, np.hstack(parts), strict=True))


def border_features(looks: Sequence[Seen]) -> "dict[int, NDArray[np.float32]]":
    """The outer eighth on each side, the middle masked: mean and spread of each cell, as principal components."""
    import numpy as np
    from sklearn.decomposition import PCA

    border = np.ones((GRID, GRID), bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    found = {
        place: np.concatenate([look.means[border], look.spreads[border]])
        for place, look in enumerate(looks)
        if isinstance(look, Look)
    }
    if len(found) < 2:
        return {}
    table = np.stack(list(found.values()))
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-6)
    components = PCA(min(_COMPONENTS, *table.shape), random_state=0).fit_transform(table)
    return dict(zip(found, components, strict=True))


def _sampled(places: Sequence[int], groups: Sequence[int]) -> list[int]:
    """At most so many images that the probes take seconds: whole groups, drawn at random with a fixed seed."""
    import numpy as np

    if len(places) <= _SAMPLE:
        return list(places)
    of_group: dict[int, list[int]] = {}
    for place in places:
        of_group.setdefault(groups[place], []).append(place)
    kept: list[int] = []
    for group in np.random.default_rng(0).permutation(sorted(of_group)):
        if len(kept) + len(of_group[group]) <= _SAMPLE:
            kept += of_group[group]
    return sorted(kept)


def _cure(measure: str) -> str:
    suspicion = "This is a suspicion, no proof. "
    if measure == "V":
        return (
            f"{suspicion}If it is not the disease itself, compare classes within one value of it, "
            "balance the classes over it, or test on data where the two do not go together."
        )
    return (
        f"{suspicion}A model may learn this instead of the disease: take the classes from the same sources, prepare "
        "all images in the same way, crop what is not the organ, and test on data from elsewhere."
    )
