"""A check sees images as training would: through the CT window."""

from pathlib import Path

import numpy as np
import pytest

from medimg.checks.run import run_checks
from medimg.config.compose import load
from medimg.data.load import load_manifest


def test_volumes_whose_range_only_a_window_tells_are_readable_with_it(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    generator = np.random.default_rng(0)
    for label in ("train/a", "train/b", "val/a", "val/b"):
        for number in range(3):
            file = tmp_path / "nii" / label / f"{label[-1]}{number}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            values = generator.integers(-1000, 400, (24, 24, 2)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), file)
    given = ["data=image_folder", f"data.root={tmp_path / 'nii'}"]
    for window, broken in ((["data.window=lung"], False), ([], True)):
        manifest = load_manifest(load([*given, *window]).data, tmp_path / "cache")
        kinds = {finding.kind for finding in run_checks(manifest).findings}
        assert ("unreadable" in kinds) is broken
