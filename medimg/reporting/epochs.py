"""The evaluation of every epoch that was kept: a table and a curve."""

import math
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from medimg.config.training import MonitorConfig
from medimg.files import write_bytes, write_table, write_text
from medimg.reporting.scores import WHOLE
from medimg.reporting.tables import markdown_table, terminal_table
from medimg.runs import RunFolder

if TYPE_CHECKING:
    from medimg.inference.evaluate import Evaluated

METRICS = ("accuracy", "f1_macro", "auroc")
_COLOURS = {"accuracy": "#0072B2", "f1_macro": "#D55E00", "auroc": "#009E73"}  # Okabe and Ito


def write_epochs(run: RunFolder, done: Sequence["Evaluated"], split: str) -> str:
    """Writes `evaluations/epochs/<split>.csv`, `.md` and `.png`; returns the text for the terminal."""
    target = run.path / "evaluations" / "epochs"
    header = ["epoch", *(cell for name in METRICS for cell in (name, f"{name}_low", f"{name}_high"))]
    write_table(target / f"{split}.csv", header, [_row(one, split) for one in done])
    write_bytes(target / f"{split}.png", _curve(done, split))
    shown = [_shown(one, split) for one in done]
    titles = ["epoch", *(f"{split} {name} (95 % interval)" for name in METRICS)]
    said = _said(run, done, split)
    page = ["# Every epoch", markdown_table(titles, shown), f"![The scores by epoch]({split}.png)", *said]
    write_text(target / f"{split}.md", "\n\n".join(page) + "\n")
    written = f"Written: {', '.join(str(target / f'{split}.{kind}') for kind in ('csv', 'md', 'png'))}"
    return "\n".join([terminal_table(titles, shown), "", *said, written])


def _row(one: "Evaluated", split: str) -> list[Any]:
    cells = [[one.results[split][name], *one.results["ci95"][split].get(name, (None, None))] for name in METRICS]
    return [one.checkpoint.epoch, *(cell for triple in cells for cell in triple)]


def _shown(one: "Evaluated", split: str) -> list[str]:
    return [str(one.checkpoint.epoch), *(with_interval(one.results, split, name) for name in METRICS)]


def with_interval(results: Any, split: str, name: str) -> str:
    """`0.812 (0.760 to 0.850)`."""
    value, interval = results[split].get(name), results["ci95"][split].get(name)
    number = "-" if value is None or math.isnan(value) else f"{value:.3f}"
    return number if interval is None else f"{number} ({interval[0]:.3f} to {interval[1]:.3f})"


def _said(run: RunFolder, done: Sequence["Evaluated"], split: str) -> list[str]:
    """Which epoch is best here, by accuracy and by what validation chose by, and which was chosen."""
    names = list(dict.fromkeys(["accuracy", _monitored(run)]))
    names = [name for name in names if all(name in one.results[split] for one in done)]
    best = {name: max(done, key=partial(_goodness, split, name)) for name in names}
    found = [
        f"Best {WHOLE.get(name, name)}: {with_interval(one.results, split, name)} in epoch {one.checkpoint.epoch}."
        for name, one in best.items()
    ]
    if split == "test":
        found.append(
            f"That is the best of {len(done)} looks at the test split: to choose an epoch by test is no honest choice, "
            "and its score is too good."
        )
    chosen = run.results().get("best_epoch")
    honest = next((one for one in done if one.checkpoint.epoch == chosen), None)
    if honest is not None and split != "val":
        scores = [f"{WHOLE.get(name, name)} {with_interval(honest.results, split, name)}" for name in names]
        found.append(f"Validation chose epoch {chosen}, by {_monitored(run)}: {', '.join(scores)}.")
    return found


def _monitored(run: RunFolder) -> str:
    """The metric that chose the best epoch, without its split."""
    monitor = run.info().get("monitor") or run.read_config().get("monitor") or {}
    return str(monitor.get("metric", MonitorConfig().metric)).partition("/")[2]


def _goodness(split: str, name: str, one: "Evaluated") -> tuple[float, int]:
    """Higher is better; the earlier epoch of equals, and one without a score last."""
    value = one.results[split][name]
    return -math.inf if value is None or math.isnan(value) else value, -one.checkpoint.epoch


def _curve(done: Sequence["Evaluated"], split: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    epochs = [one.checkpoint.epoch for one in done]
    for name in METRICS:
        axes.plot(epochs, [one.results[split][name] for one in done], "o-", color=_COLOURS[name], label=name)
    bands = [one.results["ci95"][split].get("accuracy", (float("nan"),) * 2) for one in done]
    low, high = zip(*bands, strict=True)
    axes.fill_between(epochs, low, high, color=_COLOURS["accuracy"], alpha=0.15, label="95 % interval of accuracy")
    axes.set_xlabel("epoch")
    axes.set_ylabel(split)
    axes.grid(color="#dddddd")
    axes.legend()
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
