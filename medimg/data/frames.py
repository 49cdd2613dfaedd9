"""Files that hold more than one picture with a name: DICOM ids into the manifest, a record for each frame or slice."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from medimg.config.windows import WindowValue
from medimg.data.manifest import Manifest, Record, examples
from medimg.data.problems import refuse
from medimg.data.readers.dicom_ids import DicomIds, check_installed, read_ids
from medimg.data.readers.refusals import PICTURES_HAVE_NONE, no_window
from medimg.data.readers.sniff import PICTURE_SUFFIXES, Kind, kind_of, suffix_of
from medimg.errors import RequestError

log = logging.getLogger(__name__)

STUDY_COLUMN = "study"


def expand_files(manifest: Manifest, multiframe: Literal["refuse", "expand"], window: WindowValue | None) -> Manifest:
    """The manifest with what DICOM headers and NIfTI files say: patients, studies, an image for each frame or slice.

    A DICOM file's patient is its PatientID; where it has none, its StudyInstanceUID, which also goes into the column
    `study`. A volume without a patient is one. What the source says goes before. Records with a frame stay as they are,
    and so do files that cannot be read: whoever reads their pixels says why.

    Raises:
        RequestError: files of several frames with `multiframe=refuse`, a window where there are no Hounsfield units, or
            a format whose packages are not installed.
    """
    if window is not None:
        _check_pictures(manifest)
    records: list[Record] = []
    crowded: list[str] = []
    seen: set[Kind | None] = set()
    by_study = 0
    for record in manifest.records:
        file = manifest.file(record)
        kind = None if record.frame is not None else _kind(file)
        if kind not in seen:
            seen.add(kind)
            _check_installed(kind, file)
        if kind == "nifti":
            records += _slices(record, file)
        elif kind == "dicom" and (ids := _ids(file, window)) is not None:
            by_study += not (record.patient_id or ids.patient or ids.study is None)
            if ids.frames > 1 and multiframe == "refuse":
                crowded.append(record.path)
            records += _frames(_with_ids(record, ids), ids.frames)
        else:
            records.append(record)
    if crowded:
        what = f"{len(crowded)} of the DICOM files hold several frames: {examples(crowded)}."
        cure = "Give data.multiframe=expand to make an image of each frame, or save the frames that count as files."
        refuse("several_frames", what, cure, crowded)
    if by_study:
        log.info("%d DICOM files name no patient: their study stands for the patient.", by_study)
    _warn_of_one_patient(records)
    return replace(manifest, records=tuple(records))


def _warn_of_one_patient(records: list[Record]) -> None:
    """Anonymising often gives all files one PatientID, which would make the data set one patient."""
    studies = {study for record in records if (study := record.columns.get(STUDY_COLUMN))}
    if len(studies) > 1 and len({record.patient_id for record in records}) == 1:
        log.warning(
            "All DICOM files have the same PatientID, in %d studies. If it stands for many patients, "
            "say who they are: a patient_id column in metadata.csv, or data.patient_regex.",
            len(studies),
        )


def _kind(file: Path) -> Kind | None:
    """None where the name says that it is a picture, since opening 100,000 files takes its time, or it is not there."""
    if suffix_of(file.name) in PICTURE_SUFFIXES:
        return None
    try:
        return kind_of(file)
    except OSError:
        return None


def _check_installed(kind: Kind | None, file: Path) -> None:
    """Once for all files of a kind: looking for packages takes longer than reading a header."""
    if kind == "dicom":
        check_installed(file)
    if kind == "nifti":
        from medimg.data.readers import nifti

        nifti.check_installed(file)


def _check_pictures(manifest: Manifest) -> None:
    """A window on pictures is told from the first of them, before anything is trained."""
    for record in manifest.records:
        file = manifest.file(record)
        if suffix_of(file.name) in {*PICTURE_SUFFIXES, ".npz"}:
            try:
                kind = kind_of(file)
            except OSError:
                continue
            if kind in {"picture", "npz"}:
                raise no_window(file, PICTURES_HAVE_NONE)
            return


def _ids(file: Path, window: WindowValue | None) -> DicomIds | None:
    ids = read_ids(file)
    if ids is not None and window is not None and ids.modality not in {"CT", None}:
        raise no_window(file, "this DICOM file is no CT")
    return ids


def _with_ids(record: Record, ids: DicomIds) -> Record:
    study = {} if ids.study is None else {STUDY_COLUMN: ids.study}
    return replace(record, patient_id=record.patient_id or ids.patient or ids.study, columns=study | record.columns)


def _slices(record: Record, file: Path) -> list[Record]:
    from medimg.data.readers.nifti import count_slices

    patient = record.patient_id or record.path.removesuffix(".gz").removesuffix(".nii")
    try:
        count = count_slices(file)
    except RequestError:
        count = 1
    return list(_frames(replace(record, patient_id=patient), count))


def _frames(record: Record, count: int) -> Iterable[Record]:
    """A record for each frame; the record itself where there is one."""
    if count == 1:
        return [record]
    digits = max(3, len(str(count - 1)))
    name = record.file or record.path
    return [replace(record, path=f"{record.path}#{frame:0{digits}d}", file=name, frame=frame) for frame in range(count)]
