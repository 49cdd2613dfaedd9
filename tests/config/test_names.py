"""Folder names that no value can break."""

import random
import re
import string

from medimg.config.names import job_folder, unique

NASTY = [
    *string.printable.replace("\n", ""),
    *"äöüß肺رئة🫁\u200b\u0000",
    "/",
    "//",
    "..",
    "../",
    "${x}",
    "[1,2]",
    "{a:b}",
    "'",
    '"',
    "\\",
    "=",
    ",",
    "x" * 300,
    "",
    " ",
    "CON",
    ".",
    "-",
    "~",
]
KEYS = [
    "seed",
    "optimizer.lr",
    "model",
    "+model.x",
    "~callbacks.figures",
    "data.root",
    "name",
    "hydra.verbose",
    "a.b.c.d",
]


def nasty_overrides(generator: random.Random) -> list[str]:
    keys = generator.sample(KEYS, generator.randint(0, len(KEYS)))
    return [f"{key}={''.join(generator.choices(NASTY, k=generator.randint(0, 12)))}" for key in keys]


def test_any_value_makes_a_safe_name_that_is_its_own() -> None:
    generator = random.Random(0)
    seen: dict[str, frozenset[str]] = {}
    for _ in range(2000):
        overrides = nasty_overrides(generator)
        folder = job_folder(overrides)
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", folder), overrides
        assert len(folder) <= 120
        shuffled = generator.sample(overrides, len(overrides))
        assert job_folder(shuffled) == folder
        assert seen.setdefault(folder, frozenset(overrides)) == frozenset(overrides)


def test_names_are_readable() -> None:
    folder = job_folder(["seed=3", "model=resnet18", "optimizer.lr=0.001"])
    assert re.fullmatch(r"model-resnet18_lr-0\.001_seed-3-[0-9a-f]{8}", folder)


def test_where_things_are_is_not_shown_but_counts() -> None:
    one = job_folder(["seed=1", "data.root=/a", "name=x", "paths.cache=/c"])
    two = job_folder(["seed=1", "data.root=/b", "name=x", "paths.cache=/c"])
    assert one != two
    assert re.fullmatch(r"seed-1-[0-9a-f]{8}", one)
    assert re.fullmatch(r"default-[0-9a-f]{8}", job_folder([]))


def test_a_file_is_shown_by_its_name() -> None:
    assert job_folder(["ckpt_path=/long/way/to/last.ckpt"]).startswith("ckpt-path-last.ckpt-")


def test_values_that_look_alike_have_different_folders() -> None:
    alike = [["lr=a/b"], ["lr=c/b"], ["lr=b"], ["lr=b,"], ["lr=[b]"], ["lr=b "], ["lr=B"], ["+lr=b"]]
    assert len({job_folder(overrides) for overrides in alike}) == len(alike)


def test_the_name_does_not_change_between_versions() -> None:
    """A sweep that is started again finds its finished jobs by it."""
    assert job_folder(["seed=0", "model=small_cnn"]) == "model-small-cnn_seed-0-54e14dc7"


def test_unique() -> None:
    names = {unique() for _ in range(100)}
    assert len(names) > 95
    assert all(re.fullmatch(r"[0-9a-f]{6}", name) for name in names)
