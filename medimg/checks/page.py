"""A check as a page: one HTML file with its pictures in it, to be opened without a server, or printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from medimg.checks.findings import KINDS, SEVERITIES, Finding, Report, Severity, by_kind
from medimg.checks.shortcuts import LEVEL, meaning
from medimg.data.manifest import Manifest, Record
from medimg.errors import RequestError
from medimg.reporting.html import data_url, environment

_SIDE = 144  # pixels of the longer side of a picture
_WITH_PICTURES = frozenset(
    {"duplicate", "near_duplicate", "label_conflict", "patient_leak", "group_leak", "class_mismatch"}
)
_PICTURED = 16  # findings of a kind that are shown with pictures...
_EACH = 4  # ...so many each
_LISTED = 40  # findings of a kind, or files of a finding, that are named
_EXAMPLES = 6  # pictures of each class
_MOST_CLASSES = 20


@dataclass(frozen=True)
class _Picture:
    path: str
    caption: str
    source: str | None  # a data URL; None where it cannot be read


@dataclass(frozen=True)
class _Item:
    finding: Finding
    pictures: list[_Picture]
    files: list[str]
    more: int

    @property
    def has_pictures(self) -> bool:
        return bool(self.pictures)


@dataclass(frozen=True)
class _Alike:
    """Findings that say the same of other files: said once."""

    message: str
    items: list[_Item]


@dataclass(frozen=True)
class _Block:
    """Findings of one kind with the same cure, which is said once for all of them."""

    cure: str
    alike: list[_Alike]


@dataclass(frozen=True)
class _Group:
    severity: Severity
    title: str
    anchor: str
    blocks: list[_Block]
    number: int
    more: int


def render(report: Report, manifest: Manifest, *, title: str, when: str) -> str:
    """The page as text.

    Args:
        report: what was found.
        manifest: the images, for the pictures.
        title: what was checked.
        when: as text.
    """
    records = {record.path: record for record in manifest.records}
    return (
        environment("medimg.checks")
        .get_template("page.html.j2")
        .render(
            title=title,
            when=when,
            report=report,
            images=len(manifest.records),
            classes=list(next(iter(report.counts.values()), {})),
            numbers={severity: len(report.of(severity)) for severity in SEVERITIES},
            groups=[_group(kind, found, manifest, records) for (_, kind), found in by_kind(report.findings).items()],
            examples={label: _examples(manifest, label) for label in manifest.classes[:_MOST_CLASSES]},
            level=LEVEL,
            meaning=meaning(report.unit),
            synthetic=manifest.synthetic,
        )
    )


def _group(kind: str, found: Sequence[Finding], manifest: Manifest, records: dict[str, Record]) -> _Group:
    pictured = _PICTURED if kind in _WITH_PICTURES else 0
    blocks: dict[str, dict[str, _Alike]] = {}
    for number, finding in enumerate(found[:_LISTED]):
        pictures = [_picture(manifest, records, path) for path in finding.files[:_EACH]] if number < pictured else []
        more = max(0, len(finding.files) - _LISTED)
        item = _Item(finding, pictures, list(finding.files[:_LISTED]), more)
        block = blocks.setdefault(finding.cure, {})
        block.setdefault(finding.message, _Alike(finding.message, [])).items.append(item)
    severity = found[0].severity
    more = max(0, len(found) - _LISTED)
    shown = [_Block(cure, list(alike.values())) for cure, alike in blocks.items()]
    return _Group(severity, KINDS[kind], f"{severity}-{kind}", shown, len(found), more)


def _examples(manifest: Manifest, label: str) -> list[_Picture]:
    """Some images of a class, spread over all of them."""
    chosen = [record for record in manifest.records if record.label == label]
    step = max(1, len(chosen) // _EXAMPLES)
    return [_picture(manifest, {one.path: one}, one.path) for one in chosen[::step][:_EXAMPLES]]


def _picture(manifest: Manifest, records: dict[str, Record], path: str) -> _Picture:
    record = records.get(path)
    if record is None:
        return _Picture(path, "", None)
    parts = [record.split or "no split", record.label]
    parts += [f"patient {record.patient_id}"] if record.patient_id else []
    return _Picture(path, ", ".join(parts), _thumbnail(manifest, record))


def _thumbnail(manifest: Manifest, record: Record) -> str | None:
    """A small JPEG as a data URL; deep images from their darkest to their brightest value."""
    import numpy as np
    from PIL import Image

    try:
        pixels = manifest.read(record, 3).numpy()
    except (RequestError, MemoryError):
        return None
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=72)
    return data_url(stream.getvalue(), "image/jpeg")
