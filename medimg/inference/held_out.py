"""Which images the members of an ensemble have held out: each may be asked about those alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from medimg.data.manifest import Manifest, Record, Split, SplitUnit, examples
from medimg.errors import RequestError
from medimg.inference.members import MemberRun

Kind = Literal["mean", "out_of_fold"]

_WEAKEST_LAST: tuple[SplitUnit, ...] = ("patient", "group", "image")

Members = tuple[MemberRun, ...]


@dataclass(frozen=True)
class HeldOut:
    """The images of a split, and the members that are asked about them.

    Attributes:
        split: its name.
        groups: members that hold out the same images: one group, or one for each fold.
        missing: images of folds that no member holds out.
        missing_folds: the numbers of these folds.
    """

    split: Split
    groups: tuple[Members, ...]
    missing: frozenset[str] = frozenset()
    missing_folds: tuple[int, ...] = ()

    @property
    def records(self) -> list[Record]:
        """Of all these images, those of missing folds included, in this split."""
        of_groups = [record for group in self.groups for record in group[0].manifest.of(self.split)]
        others = [record for record in self.groups[0][0].manifest.records if record.path in self.missing]
        return [replace(record, split=self.split) for record in (*of_groups, *others)]


def kind_of(members: Sequence[MemberRun]) -> Kind:
    """Whether the members are to be averaged on one test split, or are folds that each hold out another part."""
    parts = set(_by_images(members, "test"))
    return "out_of_fold" if _one_data_set(members) and len(parts) > 1 and _are_parts(parts) else "mean"


def share_validation(members: Sequence[MemberRun]) -> bool:
    """Whether all of them have the same validation images, and some."""
    parts = set(_by_images(members, "val"))
    return _one_data_set(members) and len(parts) == 1 and frozenset() not in parts


def held_out(members: Members, split: Split) -> HeldOut:
    """The images of a split of the members' own data, each with the members that hold it out.

    Raises:
        RequestError: the members are of other images, one was trained on images that another one holds out, folds have
            not the same number of members, or an image is held out by none though no fold is missing.
    """
    _refuse_other_data(members)
    by_images = _by_images(members, split)
    groups = tuple(tuple(group) for group in by_images.values())
    for paths, group in by_images.items():
        if not paths:
            raise RequestError(f"{group[0].folder.shown} has no {split} split")
    if len(groups) == 1:
        return HeldOut(split, groups)
    if split != "test" or not _are_parts(by_images):
        raise RequestError(_why_not_one_split(members, by_images, split))
    _refuse_unequal(groups)
    missing = frozenset(record.path for record in members[0].manifest.records) - frozenset().union(*by_images)
    return HeldOut(split, groups, missing, _missing_folds(members, missing) if missing else ())


def manifest_of(members: Members, parts: Sequence[HeldOut]) -> Manifest:
    """The images of these splits, each in the split that it is scored in; the split unit is the weakest of all."""
    records = {record.path: record for part in parts for record in part.records}
    unit = max((member.manifest.split_unit for member in members), key=_WEAKEST_LAST.index)
    return replace(members[0].manifest, records=tuple(records.values()), split_unit=unit)


def _by_images(members: Sequence[MemberRun], split: Split) -> dict[frozenset[str], list[MemberRun]]:
    """The members by the images that they have in a split."""
    found: dict[frozenset[str], list[MemberRun]] = defaultdict(list)
    for member in members:
        found[member.paths(split)].append(member)
    return dict(found)


def _are_parts(sets: Sequence[frozenset[str]] | set[frozenset[str]] | Mapping[frozenset[str], object]) -> bool:
    """Whether none is empty and no image is in two."""
    return all(sets) and sum(map(len, sets)) == len(frozenset().union(*sets))


def _one_data_set(members: Sequence[MemberRun]) -> bool:
    return len({member.images for member in members}) == 1


def _refuse_other_data(members: Sequence[MemberRun]) -> None:
    first, *others = members
    for member in others:
        if member.images != first.images:
            raise RequestError(
                f"{member.folder.shown} was made of other images than {first.folder.shown}, so they hold out none in "
                "common\n  data.root=PATH scores on images that none was trained on"
            )


def _why_not_one_split(
    members: Sequence[MemberRun], by_images: Mapping[frozenset[str], Sequence[MemberRun]], split: Split
) -> str:
    """Which member was trained on what another one holds out, or else which differ."""
    cure = (
        "\n  seeds and backbones go together where data.split_seed is the same; folds of one division are pooled, on "
        "split=test"
    )
    for member in members:
        for paths, (other, *_) in by_images.items():
            if trained := sorted(paths & member.paths("train")):
                return (
                    f"{member.folder.shown} was trained on {len(trained)} of the {len(paths)} {split} images of "
                    f"{other.folder.shown} ({examples(trained)}): a score on these is none{cure}"
                )
    one, other = next((a[0], b[0]) for (mine, a), (theirs, b) in combinations(by_images.items(), 2) if mine != theirs)
    return f"{one.folder.shown} and {other.folder.shown} have not the same {split} images{cure}"


def _refuse_unequal(groups: Sequence[Members]) -> None:
    if len({len(group) for group in groups}) > 1:
        lines = [f"  {_name(group)}: {len(group)} ({', '.join(_seed(one) for one in group)})" for group in groups]
        raise RequestError(
            "each fold needs the same number of members, or some images would have a larger ensemble than others\n"
            + "\n".join(sorted(lines))
        )


def _missing_folds(members: Sequence[MemberRun], missing: frozenset[str]) -> tuple[int, ...]:
    """The folds that have no member.

    Raises:
        RequestError: there are none, and the images are held out by nobody all the same.
    """
    folds = {member.run.config.get("data.folds") for member in members}
    number = next(iter(folds)) if len(folds) == 1 else None
    left = set(range(number or 0)) - {member.fold for member in members}
    if not left:
        raise RequestError(
            f"{len(missing)} images are held out by no member ({examples(sorted(missing))})\n"
            "  folds of one division, data.folds=K, hold out each image once"
        )
    return tuple(sorted(left))


def _name(group: Members) -> str:
    fold = group[0].fold
    return f"what {group[0].folder.shown} holds out" if fold is None else f"fold {fold}"


def _seed(member: MemberRun) -> str:
    return f"seed {member.run.config.get('seed')}"
