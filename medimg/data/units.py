"""What a split keeps whole: patients, groups that stand in for them, or nothing but single images."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from medimg.data.manifest import SPLITS, Record, SplitUnit, examples
from medimg.errors import RequestError

log = logging.getLogger(__name__)


def unit_of(record: Record) -> tuple[str, str]:
    """What the record belongs to; an image whose patient and group are unknown counts as a patient of its own."""
    if record.patient_id:
        return "patient", record.patient_id
    return ("group", record.group) if record.group else ("image", record.path)


def split_unit(records: Sequence[Record], allow_patient_overlap: bool) -> SplitUnit:
    """What stands whole in one split: every patient; or every group, where groups stand in; or single images only."""
    members: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        members[unit_of(record)].append(record)
    torn = {unit: found for unit, found in members.items() if len({record.split for record in found}) > 1}
    patients = {name: found for (kind, name), found in torn.items() if kind == "patient"}
    if patients and not allow_patient_overlap:
        raise RequestError(_overlap(patients))
    if patients:
        log.warning(
            "data.allow_patient_overlap: %s in more than one of the source's splits: %s. Scores will be "
            "too good, and the split counts as one by image.",
            _stand(len(patients), "patient"),
            examples(patients),
        )
    if len(torn) > len(patients):
        log.warning(
            "%s in more than one of the source's splits: %s. Scores may be too good, "
            "and the split counts as one by image. Look at them with medimg check, or split anew.",
            _stand(len(torn) - len(patients), "group of similar images", "groups of similar images"),
            examples(name for kind, name in torn if kind == "group"),
        )
    kinds = {kind for kind, _ in members}
    if torn or "image" in kinds:
        return "image"
    return "group" if "group" in kinds else "patient"


def _overlap(patients: dict[str, list[Record]]) -> str:
    """Patients on two sides, with an image of each side, and what to do."""
    lines = []
    for patient, records in list(patients.items())[:3]:
        files = {record.split: record.path for record in reversed(records)}  # the first of each split
        sides = ", ".join(f"{files[split]!r} in {split}" for split in SPLITS if split in files)
        lines.append(f"\n  patient {patient!r} ({len(records)} images): {sides}")
    more = f"\n  and {len(patients) - 3} more" if len(patients) > 3 else ""
    several = len(patients) > 1
    return (
        f"{_stand(len(patients), 'patient')} in more than one of the source's splits, "
        f"so scores would be too good:{''.join(lines)}{more}\n"
        f"  Put {'each of them' if several else 'this patient'} into one split; or leave the source's split out (class "
        "folders without train/ and test/, no split column) and give data.folds; or train all the same with "
        "data.allow_patient_overlap=true: the run then counts as split by image."
    )


def _stand(count: int, one: str, many: str = "") -> str:
    return f"1 {one} stands" if count == 1 else f"{count} {many or one + 's'} stand"


def warn_of_unknown_patients(records: Sequence[Record]) -> None:
    """Where the patients of some images only are known: how many not, and what becomes of those."""
    unknown = sum(not record.patient_id for record in records)
    alone = sum(not record.patient_id and not record.group for record in records)
    if 0 < unknown < len(records):
        log.warning(
            "%d of %d images %s no patient_id; %s counts as a patient of its own, and the split as one by %s.",
            unknown,
            len(records),
            "has" if unknown == 1 else "have",
            "each" if alone else "each group of them",
            "image" if alone else "group",
        )
