"""`medimg export run=RUN format=onnx`: a run's model as one file that needs no medimg."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.commands.options import key_values, needed_run, overrides_only
from medimg.errors import RequestError
from medimg.terminal import show

if TYPE_CHECKING:
    from medimg.inference.export import Exported
    from medimg.inference.export_formats import Format

KEYS = ("run", "format", "checkpoint", "output", "paths.runs")
FORMATS: tuple["Format", ...] = ("onnx", "torch")

USAGE = """medimg export: writes a run's model as one file, checked against the original.

  medimg export run=runs/NAME/TIME-HASH
  medimg export run=latest format=torch output=model.pt2

  run                a run folder, or latest: the run below paths.runs that started last
  format             onnx (needs medimg[export]), or torch: a program for torch.export.load (onnx)
  checkpoint         best, last, or a file (best)
  output             the file (export/model.onnx or export/model.pt2 in the run folder)
  paths.runs         where latest looks (runs)
  allow              targets of your own that the run was made with, by group; a run folder's word is not enough

The file takes images as float32 [N, C, H, W] in 0..1 and normalises them itself. Classes, threshold, temperature and
preprocessing are in it, and in a .json beside it. It is run on images of the run before it takes its place.
"""


def main(arguments: Sequence[str]) -> int:
    """Finds the run, exports its model, and says where it is and how exact."""
    overrides = overrides_only("export", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    values = key_values("export", overrides, KEYS, of_the_run=("allow",))
    folder = needed_run(values)
    given = {key: str(value) for key, value in values.items() if key != "allow"}
    wanted = given.get("format", "onnx")
    chosen = next((name for name in FORMATS if name == wanted), None)
    if chosen is None:
        raise RequestError(f"format={wanted}: there is no such format\n  formats: {', '.join(FORMATS)}")

    from medimg.config.check import check_allow
    from medimg.inference.export import export

    done = export(
        folder,
        chosen,
        checkpoint=given.get("checkpoint", "best"),
        output=Path(given["output"]).expanduser() if "output" in given else None,
        allow=check_allow(values.get("allow")),
    )
    show(_told(done))
    return 0


def _told(done: "Exported") -> str:
    about, checked = done.metadata, done.checked
    worst = max(value for name, value in checked["max_difference"].items() if name != "logits")
    point = about["operating_point"]
    threshold = f"{about['threshold']:.4g} ({point})" if point else "none"
    temperature = f"{about['temperature']:.4g}" if about["temperature"] is not None else "none"
    unsafe = " (unsafe: see temperature_reason)" if about["temperature_safe"] is False else ""
    lines = [
        f"Checked on {checked['images']} {checked['of']}, with {checked['runtime']}: "
        f"probabilities differ from PyTorch's by {worst:.2g} at most",
        f"Classes: {', '.join(about['classes'])}; threshold: {threshold}; temperature: {temperature}{unsafe}",
        f"Written: {done.file} ({done.file.stat().st_size / 1e6:.3g} MB), {done.file.with_suffix('.json').name}",
        about["notice"] + (" It was trained on synthetic images." if about["synthetic"] else ""),
    ]
    return "\n".join(lines)
