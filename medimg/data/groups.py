"""Groups that stand in for patients where none is known: clusters of near duplicates, or blocks of file numbers."""

import logging
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from medimg.data.manifest import Manifest, Record
from medimg.errors import RequestError

log = logging.getLogger(__name__)

GroupBy = Literal["near_duplicates", "blocks"]

CAVEAT = (
    "images of one patient can still be in two groups, so such a split is a lower bound on leakage, not proof of none"
)
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


@dataclass(frozen=True)
class GroupSizes:
    """How many groups there are, and how many images the largest of them has."""

    number: int
    largest: int
    images: int

    @classmethod
    def of(cls, manifest: Manifest) -> "GroupSizes | None":
        """None where no image has a group."""
        sizes = Counter(record.group for record in manifest.records if record.group)
        return cls(len(sizes), max(sizes.values()), sizes.total()) if sizes else None


def with_groups(
    manifest: Manifest,
    by: GroupBy,
    *,
    block_size: int,
    threshold: float,
    workers: int = 0,
    cache: Path | None = None,
) -> Manifest:
    """The manifest with a group for each image whose patient is not known, named by the group's first image.

    Groups that a run's own manifest brings along are kept.

    Args:
        manifest: the images.
        by: `near_duplicates`: what is connected by pairs as alike as neighbouring slices (single linkage). `blocks`:
            `block_size` consecutive numbers of the file names in one folder.
        block_size: numbers of one block.
        threshold: the largest distance of near duplicates, as `find_neighbours` has it.
        workers: threads that decode; 0: one for each core.
        cache: the cache folder, for signatures of the images.

    Raises:
        RequestError: the patient of every image is known.
    """
    without = [record for record in manifest.records if not record.patient_id]
    if not without:
        raise RequestError(
            f"data.group_by={by}: the patient of each of the {len(manifest.records)} images is known, and groups only "
            "stand in for patients. Leave data.group_by out: the split is by patient."
        )
    if all(record.group for record in without):
        log.warning("data.group_by=%s is not used: the manifest has groups already, and they are kept.", by)
        _tell(by, GroupSizes.of(manifest), manifest)
        return manifest
    if any(record.group for record in without):
        raise RequestError(
            f"data.group_by={by}: the manifest has groups for some images and none for others. "
            "Fill in or empty its column medimg_group."
        )
    bare = replace(manifest, records=tuple(without))
    found = _clusters(bare, threshold, workers, cache) if by == "near_duplicates" else _blocks(without, block_size)
    names = {record.path: members[0].path for members in found for record in members}
    result = replace(
        manifest, records=tuple(replace(record, group=names.get(record.path)) for record in manifest.records)
    )
    _tell(by, GroupSizes.of(result), manifest)
    return result


def _clusters(manifest: Manifest, threshold: float, workers: int, cache: Path | None) -> list[list[Record]]:
    from medimg.data.similarity import clusters, find_neighbours

    pairs = find_neighbours(manifest, threshold, workers=workers, cache=cache)
    return [[manifest.records[i] for i in members] for members in clusters(len(manifest.records), pairs)]


def _blocks(records: list[Record], size: int) -> list[list[Record]]:
    """Images of one folder whose last numbers fall into one block, the rest of their names being the same.

    Blocks start at the folder's smallest number. An image without a number is a group of its own.
    """
    series: dict[tuple[str, str, str], list[tuple[int, Record]]] = defaultdict(list)
    found: list[list[Record]] = []
    for record in records:
        folder, _, name = record.path.rpartition("/")
        # the number of a frame comes last in the path, after the file's suffix
        stem = name if record.frame is not None else name.rpartition(".")[0] or name
        match = _NUMBER.fullmatch(stem)
        if match is None:
            found.append([record])
        else:
            before, number, after = match.groups()
            series[folder, before, after].append((int(number), record))
    for members in series.values():
        start = min(number for number, _ in members)
        blocks: dict[int, list[Record]] = defaultdict(list)
        for number, record in members:
            blocks[(number - start) // size].append(record)
        found.extend(blocks.values())
    return found


def _tell(by: GroupBy, sizes: GroupSizes | None, manifest: Manifest) -> None:
    if sizes is None:
        return
    what = "near duplicates" if by == "near_duplicates" else "blocks of file numbers"
    log.warning(
        "Groups of %s stand in for patients: %d groups of %d images, the largest has %d. Mind that %s.",
        what, sizes.number, sizes.images, sizes.largest, CAVEAT,
    )  # fmt: skip
    if sizes.number == sizes.images:
        log.warning("No two images are in one group, so the split is as good as one by image.")
    elif sizes.largest > len(manifest.records) / 4:
        log.warning(
            "The largest group has %d of the %d images: single linkage has chained them together. "
            "A smaller data.group_threshold makes smaller groups.",
            sizes.largest,
            len(manifest.records),
        )
