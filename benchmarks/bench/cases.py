"""The cases: what is run side by side in each, and which limits its ratios have to keep."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.bench.commands import Bench
from benchmarks.bench.images import images_in, more
from benchmarks.bench.ratios import Case, Figures, Line, Repetition

GROWTH = (1, 4, 16)
TWENTY_FOUR = ("optimizer.lr=3e-4,1e-3,3e-3,1e-2", "loss.label_smoothing=0.0,0.1", "seed=0,1,2")
JOBS = 24

_FROZEN = "model.freeze=true"
_SMALL_KB = 20.0  # of memory an image: its path, label, patient, row of predictions and features are a few KB


def frozen(bench: Bench) -> Case:
    """One study of a head on a frozen trunk, with new caches and with filled ones."""
    warm = bench.fresh("warm-cache")
    study = partial(bench.medimg, _FROZEN, epochs=bench.epochs)
    return Case(
        "frozen",
        {
            "plain": partial(bench.plain, epochs=bench.epochs, frozen=True),
            "one pass": bench.forward,
            "medimg cold": study,
            "medimg warm": partial(study, cache=warm),
        },
        [
            Line("frozen study, cold, whole process / plain loop", over("medimg cold", "plain", "wall_s"), 0.20),
            Line("the same / bare imports and one pass", over("medimg cold", "one pass", "wall_s"), 1.3),
            Line("frozen study, warm / plain loop", over("medimg warm", "plain", "wall_s"), 0.10),
            *_memory("frozen study, cold", "medimg cold", "plain"),
        ],
        prepare=partial(study, cache=warm),
    )


def sweep(bench: Bench) -> Case:
    """A sweep over heads: 24 jobs that differ in learning rate, label smoothing and seed."""
    return Case(
        "sweep",
        {
            "one run": partial(bench.medimg, _FROZEN, epochs=bench.epochs),
            "sweep": partial(bench.medimg, _FROZEN, *TWENTY_FOUR, epochs=bench.epochs, sweep=True),
        },
        [Line(f"head sweep of {JOBS} jobs, cold / one frozen run, cold", over("sweep", "one run", "wall_s"), 2.0)],
    )


def finetune(bench: Bench) -> Case:
    """All weights trained, two epochs, with a new cache: how fast images go through."""
    return Case(
        "finetune",
        {"plain": partial(bench.plain, epochs=2), "medimg": partial(bench.medimg, epochs=2)},
        [
            Line("fine-tuning, images/s / plain loop", over("medimg", "plain", "train_img_s"), 1.0, at_least=True),
            Line(
                "fine-tuning, images/s / the step on a batch in memory",
                lambda found: found["medimg"]["train_img_s"] / found["plain"]["compute_img_s"],
                0.95,
                at_least=True,
            ),
            *_memory("fine-tuning", "medimg", "plain"),
        ],
    )


def loader(bench: Bench) -> Case:
    """Batches alone, from the second epoch on."""
    # from the second on, so that either takes seconds: an epoch of medimg's is over in a fraction of one
    epochs = {"plain": 3, "medimg": 20}
    return Case(
        "loader",
        {which: partial(bench.loader, which, number) for which, number in epochs.items()},
        [Line("loader alone, images/s / ImageFolder", over("medimg", "plain", "img_s"), 20.0, at_least=True)],
    )


def start(bench: Bench) -> Case:
    """From the command to the end of the first optimizer step, all weights trained, with caches that are filled."""
    warm = bench.fresh("warm-cache")
    study = partial(bench.medimg, epochs=1)

    def beyond(variant: str) -> Callable[[Repetition], float]:
        """What there is beside the step itself, against the bare imports."""
        return lambda found: (
            (found[variant]["first_step_s"] - bench.batch_size / found["plain"]["compute_img_s"])
            / found["imports"]["import_s"]
        )

    return Case(
        "start",
        {
            "plain": partial(bench.plain, epochs=1),
            "imports": partial(bench.probe, "imports"),
            "medimg": partial(study, cache=warm),
            "medimg cold": study,
        },
        [
            Line("first step, less the step itself / bare imports", beyond("medimg"), 1.25),
            Line("the same, data seen for the first time", beyond("medimg cold")),
            Line("first step / the plain loop's", over("medimg", "plain", "first_step_s")),
        ],
        prepare=partial(study, cache=warm),
    )


def growth(bench: Bench) -> Case:
    """Frozen studies of one epoch with once, four and sixteen times the images."""
    few, some, many = (f"{times}x" for times in GROWTH)
    variants: dict[str, Callable[[], Figures]] = {}
    for times in GROWTH:
        variants[f"plain {times}x"] = partial(_at, bench, times, lambda larger: larger.plain(epochs=1, frozen=True))
        variants[f"medimg {times}x"] = partial(_at, bench, times, lambda larger: larger.medimg(_FROZEN, epochs=1))
    return Case(
        "growth",
        variants,
        [
            *_memory(f"{few} images", f"medimg {few}", f"plain {few}"),
            *_memory(f"{many} images", f"medimg {many}", f"plain {many}"),
            Line(
                f"slope of time: each further image, {some} to {many} / {few} to {some}",
                lambda found: _slope(found, some, many, "wall_s") / _slope(found, few, some, "wall_s"),
                1.1,
            ),
            Line(
                f"slope of memory: KB for each further image, {some} to {many} / plain loop's, or {_SMALL_KB:g}",
                lambda found: _kb_ratio(found, bench.images.total, some, many),
                1.0,
            ),
            Line(
                f"slope of memory: KB for each further image, {few} to {some}",
                lambda found: _kb(found, "medimg", bench.images.total, few, some),
            ),
            Line(
                f"slope of memory: KB for each further image, {some} to {many}",
                lambda found: _kb(found, "medimg", bench.images.total, some, many),
            ),
            Line(
                f"time an image with start-up, {many} / {few}",
                lambda found: over(f"medimg {many}", f"medimg {few}", "wall_s")(found) * GROWTH[0] / GROWTH[-1],
            ),
            Line(
                f"memory an image with start-up, {many} / {few}",
                lambda found: over(f"medimg {many}", f"medimg {few}", "tree_mb")(found) * GROWTH[0] / GROWTH[-1],
            ),
            Line(f"peak memory, all processes, {many} / {few}", over(f"medimg {many}", f"medimg {few}", "tree_mb")),
            Line(f"whole process, {many} images / plain loop", over(f"medimg {many}", f"plain {many}", "wall_s")),
        ],
        prepare=lambda: [_times(bench, times) for times in GROWTH],
    )


def gpu(bench: Bench) -> Case:
    """ResNet-50 in bf16 on a GPU, sixteen times the images, from the second epoch on, against the step alone."""
    net = replace(bench, backbone="resnet50", weights=None, batch_size=max(bench.batch_size, 128))
    warm = bench.fresh("warm-cache")

    def study() -> Figures:
        larger = _times(net, GROWTH[-1])
        return larger.medimg("trainer.precision=bf16-mixed", "trainer.accelerator=gpu", epochs=4, cache=warm)

    return Case(
        "gpu",
        {"ceiling": net.ceiling, "medimg": study},
        [
            Line(
                "ResNet-50, bf16, images/s / the step on a batch in GPU memory",
                lambda found: found["medimg"]["later_img_s"] / found["ceiling"]["img_s"],
                0.90,
                at_least=True,
            )
        ],
    )


CASES: dict[str, Callable[[Bench], Case]] = {
    "frozen": frozen,
    "sweep": sweep,
    "finetune": finetune,
    "loader": loader,
    "start": start,
    "growth": growth,
    "gpu": gpu,
}


def over(ours: str, theirs: str, figure: str) -> Callable[[Repetition], float]:
    """A figure of one variant over the same of another."""
    return lambda found: found[ours][figure] / found[theirs][figure]


def _memory(what: str, ours: str, theirs: str) -> list[Line]:
    return [
        Line(f"{what}: peak memory of the largest process / plain loop", over(ours, theirs, "peak_mb"), 1.1),
        Line(f"{what}: peak memory of all processes / plain loop", over(ours, theirs, "tree_mb"), 1.1),
    ]


def _slope(found: Repetition, low: str, high: str, figure: str, of: str = "medimg") -> float:
    """What medimg, or the plain loop, takes for each further 1x of images."""
    slope = (found[f"{of} {high}"][figure] - found[f"{of} {low}"][figure]) / (int(high[:-1]) - int(low[:-1]))
    # time that falls with more images is noise: nothing can be told by it, and no limit is kept
    return math.nan if figure == "wall_s" and slope <= 0 else slope


def _kb(found: Repetition, of: str, images: int, low: str, high: str) -> float:
    """KB of all processes for each further image, there being so many images at 1x."""
    return _slope(found, low, high, "tree_mb", of) * 1024 / images


def _kb_ratio(found: Repetition, images: int, low: str, high: str) -> float:
    """KB of medimg over the plain loop's, or over what an image may take in any case where that is more."""
    return _kb(found, "medimg", images, low, high) / max(_SMALL_KB, _kb(found, "plain", images, low, high))


def _at(bench: Bench, times: int, work: Callable[[Bench], Figures]) -> Figures:
    return work(_times(bench, times))


def _times(bench: Bench, times: int) -> Bench:
    """So many times the images, drawn once into the working folder."""
    if times == 1:
        return bench
    folder = bench.work / f"images-{times}x"
    known = images_in(folder) if (folder / "train").is_dir() else more(bench.images, times, folder)
    return bench.on(known)
