"""DICOM files, volumes and archives as tests make them."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

# values that must never be seen outside the file
SECRETS = ("Doe^Secret", "19370911", "Hidden Hospital", "Dr^Quiet", "12 Silent Street")


def make_dicom(file: Path, stored: NDArray[Any], *, bits: int = 12, **tags: Any) -> Path:
    """A grey CT file of the given stored numbers, as files of patients are: with a name, a birth date and more.

    Without other tags it has Hounsfield units: stored - 1024.
    """
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, generate_uid(), "CT"
    data.PatientName, data.PatientBirthDate, data.InstitutionName = SECRETS[:3]
    data.ReferringPhysicianName, data.PatientAddress = SECRETS[3:]
    data.PatientID, data.StudyInstanceUID = "P1", "1.2.3"
    data.Rows, data.Columns = stored.shape[-2:] if stored.ndim < 4 else stored.shape[1:3]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = stored.dtype.itemsize * 8, bits, bits - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.PixelData = stored.tobytes() + b"\x00" * (stored.nbytes % 2)
    file.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(file, enforce_file_format=True)
    return file


def make_volume(file: Path, values: NDArray[Any], affine: NDArray[Any] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), file)
    return file


def make_medmnist(file: Path, counts: dict[str, int], classes: int = 2, shape: tuple[int, ...] = (28, 28)) -> Path:
    """Noise, with labels 0, 1, 2... in turn."""
    generator = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for split, count in counts.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    np.savez_compressed(file, **arrays)
    return file
