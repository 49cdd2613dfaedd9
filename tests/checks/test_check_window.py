"""A check sees images as training would: through the CT window."""

from pathlib import Path

import numpy as np
import pytest

from medimg.checks.run import run_checks
from medimg.config.compose import load
from medimg.data.load import list_images
from medimg.data.problems import gathered


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
    for window, broken in ((["data.window=lung"], 0), ([], 24)):
        with gathered() as problems:
            manifest = list_images(load([*given, *window]).data, tmp_path / "cache")
        for told in (problems, []):  # when listed, or when decoded: one finding for the one thing that is missing
            findings = run_checks(manifest, told).findings
            assert "unreadable" not in {finding.kind for finding in findings}
            missing = [len(finding.files) for finding in findings if finding.kind == "needs_setting"]
            assert missing == ([broken] if broken else [])
