"""`medimg export run=RUN format=onnx`: a run's model as one file that needs no medimg."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from medimg.commands.keys import Run, Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node
from medimg.runs import find_run
from medimg.runs.checkpoints import find_checkpoint, told_unfinished
from medimg.terminal import show

if TYPE_CHECKING:
    from medimg.inference.export import Exported

USAGE = """medimg export: writes a run's model as one file, checked against the original.

  medimg export run=runs/NAME/TIME-HASH
  medimg export run=latest format=torch output=model.pt2

{keys}

The file takes images as float32 [N, C, H, W] in 0..1 and normalises them itself. Classes, threshold, temperature and
preprocessing are in it, and in FILE.json beside it. It is run on images of the run before it takes its place.
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    run: Run
    format: Annotated[
        Literal["onnx", "torch"],
        Meta(description="onnx (needs medimg[export]), or torch: a program for torch.export.load (onnx)"),
    ] = "onnx"
    checkpoint: Annotated[str, Meta(description="best, last, a kept epoch such as epoch_001, or a file (best)")] = (
        "best"
    )
    output: Annotated[
        str | None, Meta(description="the file (export/model.onnx or export/model.pt2 in the run folder)")
    ] = None
    paths: Runs = Runs()
    allow: Annotated[
        dict[str, list[str]] | None, Meta(description="targets of your own that the run was made with, by group")
    ] = None


def main(arguments: Sequence[str]) -> int:
    """Finds the run, exports its model, and says where it is and how exact."""
    overrides = overrides_only("export", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, _ = read_keys("export", overrides, _Request)
    folder = find_run(request.run, request.paths.folder)
    find_checkpoint(folder, request.checkpoint)  # what is not there is said before torch loads
    if told := told_unfinished(folder):
        show(told, sys.stderr)

    from medimg.inference.export import export

    output = Path(request.output).expanduser() if request.output else None
    done = export(folder, request.format, checkpoint=request.checkpoint, output=output, allow=request.allow)
    show(_told(done))
    return 0


def _told(done: "Exported") -> str:
    from medimg.reporting.scores import spoken

    about, checked = done.metadata, done.checked
    worst = max(value for name, value in checked["max_difference"].items() if name != "logits")
    point = about["operating_point"]
    threshold = f"{about['threshold']:.4g} ({spoken(point)})" if point else "none"
    lines = [
        f"Checked on {checked['images']} {checked['of']}, with {checked['runtime']}: "
        f"probabilities differ from PyTorch's by {'less than 1e-7' if worst < 1e-7 else f'{worst:.2g} at most'}",
        f"Classes: {', '.join(about['classes'])}; threshold: {threshold}; {_temperature(about)}",
        f"Written: {done.file} ({done.file.stat().st_size / 1e6:.3g} MB), {done.about.name}",
        about["notice"] + (" It was trained on synthetic images." if about["synthetic"] else ""),
    ]
    return "\n".join(lines)


def _temperature(about: Mapping[str, Any]) -> str:
    """Its value, or why there is none or why it is not to be trusted."""
    value, reason = about["temperature"], about["temperature_reason"]
    why = f" ({reason})" if reason else ""
    if value is None:
        return f"temperature: none{why}"
    return f"temperature: {value:.4g}" + (f", unsafe{why}" if about["temperature_safe"] is False else "")
