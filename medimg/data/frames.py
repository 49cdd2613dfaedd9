"""Files that hold more than one picture with a name: DICOM ids into the manifest, a record for each frame or slice."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from medimg.data.manifest import Manifest, Record, examples
from medimg.data.problems import Problem, refuse
from medimg.data.readers.dicom_ids import DicomIds, check_installed, read_ids
from medimg.data.readers.refusals import NO_CT, PICTURES_HAVE_NONE, SettingError, no_window
from medimg.data.readers.sniff import PICTURE_SUFFIXES, Kind, known_kind, suffix_of
from medimg.errors import RequestError

log = logging.getLogger(__name__)

STUDY_COLUMN = "study"


class _Header(NamedTuple):
    """What a file tells before its pixels are read. `refusal`: why they cannot be shown with the settings."""

    images: int = 1
    volume: bool = False
    ids: DicomIds | None = None
    refusal: SettingError | None = None


def expand_files(manifest: Manifest, multiframe: Literal["refuse", "expand"]) -> Manifest:
    """The manifest with what DICOM headers and NIfTI files say: patients, studies, an image for each frame or slice.

    A DICOM file's patient is its PatientID; where it has none, its StudyInstanceUID, which also goes into the column
    `study`. A volume without a patient is one. What the source says goes before. Records with a frame stay as they are,
    and so do files that cannot be read: whoever reads their pixels says why.

    Raises:
        RequestError: files of several frames with `multiframe=refuse`, files that do not fit the manifest's window or
            need one, or a format whose packages are not installed.
    """
    headers = _headers(manifest)
    expanded = [_expanded(record, header) for record, header in zip(manifest.records, headers, strict=True)]
    pairs = zip(expanded, headers, strict=True)
    for problem in unfit((one.path, header.refusal) for images, header in pairs for one in images if header.refusal):
        refuse(problem.kind, problem.message, problem.cure, problem.files)
    if multiframe == "refuse":
        _refuse_crowded(manifest, headers)
    records = [record for images in expanded for record in images]
    _tell_of_patients(manifest, headers, records)
    return replace(manifest, records=tuple(records))


def unfit(refusals: Iterable[tuple[str, SettingError]]) -> list[Problem]:
    """Problems of images that need another setting, by path: one for each cause, whatever the number of files."""
    causes: dict[tuple[str, str], list[str]] = {}
    for path, refusal in refusals:
        causes.setdefault((refusal.cause, refusal.cure), []).append(path)
    return [
        Problem("needs_setting", f"{_named(paths)}: {cause}.", cure, tuple(paths))
        for (cause, cure), paths in causes.items()
    ]


def _named(paths: list[str]) -> str:
    return f"{examples(paths)} ({len(paths)} images)" if len(paths) > 1 else examples(paths)


def _headers(manifest: Manifest) -> list[_Header]:
    """What the file of each record tells; each file is opened once, and packages are looked for once a format."""
    found: dict[str, _Header] = {}
    seen: set[Kind | None] = set()
    windowed = manifest.window is not None
    for record in manifest.records:
        name = record.file or record.path
        if name not in found:
            file = manifest.root / name
            kind = _kind(file, windowed=windowed)
            if kind not in seen:
                seen.add(kind)
                _check_installed(kind, file)
            found[name] = _header(file, kind, windowed=windowed)
    return [found[record.file or record.path] for record in manifest.records]


def _header(file: Path, kind: Kind | None, *, windowed: bool) -> _Header:
    if kind == "nifti":
        from medimg.data.readers.nifti import look_at_header

        try:
            slices, refusal = look_at_header(file, windowed=windowed)
        except RequestError:
            return _Header(volume=True)
        return _Header(slices, volume=True, refusal=refusal)
    if kind == "dicom" and (ids := read_ids(file)) is not None:
        other = windowed and ids.modality not in {"CT", None}
        return _Header(ids.frames, ids=ids, refusal=no_window(file, NO_CT) if other else None)
    if kind in {"picture", "npz"} and windowed:
        return _Header(refusal=no_window(file, PICTURES_HAVE_NONE))
    return _Header()


def _refuse_crowded(manifest: Manifest, headers: list[_Header]) -> None:
    pairs = zip(manifest.records, headers, strict=True)
    crowded = [one.path for one, header in pairs if one.frame is None and header.ids and header.images > 1]
    if crowded:
        what = f"{len(crowded)} of the DICOM files hold several frames: {examples(crowded)}."
        cure = "Give data.multiframe=expand to make an image of each frame, or save the frames that count as files."
        refuse("several_frames", what, cure, crowded)


def _tell_of_patients(manifest: Manifest, headers: list[_Header], records: list[Record]) -> None:
    """Anonymising often gives all files one PatientID, which would make the data set one patient; or none."""
    pairs = zip(manifest.records, headers, strict=True)
    by_study = sum(
        bool(header.ids and header.ids.study and not header.ids.patient and not record.patient_id)
        for record, header in pairs
        if record.frame is None
    )
    if by_study:
        log.info("%d DICOM files name no patient: their study stands for the patient.", by_study)
    with_study = [record for record in records if record.columns.get(STUDY_COLUMN)]
    studies = {record.columns[STUDY_COLUMN] for record in with_study}
    if len(studies) > 1 and len({record.patient_id for record in with_study}) == 1:
        log.warning(
            "All DICOM files have the same PatientID, in %d studies. If it stands for many patients, "
            "say who they are: a patient_id column in metadata.csv, or data.patient_regex.",
            len(studies),
        )


def _kind(file: Path, *, windowed: bool) -> Kind | None:
    """None where the name says that it is a picture, since opening 100,000 files takes its time, or nothing is known.

    With a window pictures are opened all the same, to be refused: no mistake is one of few files.
    """
    named = suffix_of(file.name) in PICTURE_SUFFIXES
    if named and not windowed:
        return None
    try:
        kind = known_kind(file)
    except OSError:
        return None
    return kind if kind == "picture" or not named else None


def _check_installed(kind: Kind | None, file: Path) -> None:
    if kind == "dicom":
        check_installed(file)
    if kind == "nifti":
        from medimg.data.readers import nifti

        nifti.check_installed(file)


def _expanded(record: Record, header: _Header) -> list[Record]:
    """A record for each frame or slice, with what the header says of the patient."""
    if record.frame is not None:
        return [record]
    if header.volume:
        patient = record.patient_id or record.path.removesuffix(".gz").removesuffix(".nii")
        record = replace(record, patient_id=patient)
    if header.ids is not None:
        record = _with_ids(record, header.ids)
    return _frames(record, header.images)


def _with_ids(record: Record, ids: DicomIds) -> Record:
    study = {} if ids.study is None else {STUDY_COLUMN: ids.study}
    return replace(record, patient_id=record.patient_id or ids.patient or ids.study, columns=study | record.columns)


def _frames(record: Record, count: int) -> list[Record]:
    """A record for each frame; the record itself where there is one."""
    if count <= 1:
        return [record]
    digits = max(3, len(str(count - 1)))
    name = record.file or record.path
    return [replace(record, path=f"{record.path}#{frame:0{digits}d}", file=name, frame=frame) for frame in range(count)]
