"""Our groups, the user's own, and the jobs of a sweep."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from medimg.cli import main
from medimg.commands import train
from medimg.config import AdamConfig, CosineConfig, Custom, TorchvisionConfig
from medimg.config.compose import compose as composed
from medimg.config.compose import conf_dir, expanded, hydra_session, jobs, load, without_sweep
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training import sweep


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty conf/ in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf"
    folder.mkdir()
    return folder


def put(folder: Path, choice: str, text: str) -> None:
    file = folder / f"{choice}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_defaults_need_no_download_and_no_data() -> None:
    config = load()
    assert config.name == "ct_phantom_small_cnn"
    assert config.data.root is None
    assert (config.monitor.metric, config.monitor.mode, config.seed) == ("val/f1_macro", "max", 0)
    assert config.data.val_fraction == 0.2
    assert config.evaluate_test == "auto"


def test_name_follows_data_and_model() -> None:
    assert load(["data=covid_phantom", "model=resnet18"]).name == "covid_phantom_resnet18"
    assert load(["model=torchvision", "model.backbone=vgg11"]).name == "ct_phantom_vgg11"
    assert load(["model=resnet18", "name=mine"]).name == "mine"


def test_choices_and_values() -> None:
    config = load(["model=resnet18", "model.weights=null", "scheduler=cosine", "optimizer.lr=3e-4", "logger=none"])
    assert isinstance(config.model, TorchvisionConfig)
    assert (config.model.backbone, config.model.weights) == ("resnet18", None)
    assert isinstance(config.scheduler, CosineConfig)
    assert config.optimizer.lr == 3e-4
    assert config.logger == {}


def test_a_callback_can_be_switched_off() -> None:
    assert load(["callbacks.figures=null"]).callbacks["figures"] is None
    assert load(["callbacks=early_stopping"]).callbacks["early_stopping"] is not None


def test_what_comes_later_wins(own: Path) -> None:
    """Groups, then the experiment, then debug, then the command line."""
    put(own, "experiment/mine", "# @package _global_\ntrainer: {max_epochs: 7}\nseed: 5\n")
    assert load(["experiment=mine"]).trainer.max_epochs == 7
    assert load(["experiment=mine", "debug=one_batch"]).trainer.max_epochs == 1
    assert load(["experiment=mine", "debug=one_batch", "trainer.max_epochs=4"]).trainer.max_epochs == 4
    assert load(["experiment=mine", "debug=one_batch"]).seed == 5


def test_own_files_add_choices(own: Path) -> None:
    put(own, "optimizer/slow", "defaults: [adam, _self_]\nlr: 1.0e-6\n")
    put(
        own,
        "experiment/mine",
        "# @package _global_\ndefaults:\n  - override /optimizer: slow\n  - _self_\nname: mine\n",
    )
    config = load(["experiment=mine"])
    assert isinstance(config.optimizer, AdamConfig)
    assert (config.optimizer.lr, config.name) == (1e-6, "mine")
    with pytest.raises(RequestError, match="slow"):
        load(["optimizer=slo"])


def test_own_files_cannot_replace_ours(own: Path) -> None:
    put(own, "optimizer/adam", "_target_: torch.optim.SGD\nlr: 5.0\n")
    put(own, "experiment/covid_cnn", "# @package _global_\nseed: 99\n")
    put(own, "train", "seed: 77\n")
    config = load()
    assert isinstance(config.optimizer, AdamConfig)
    assert (config.optimizer.lr, config.seed) == (1e-3, 0)
    assert load(["experiment=covid_cnn", "data.root=x"]).seed == 0


def test_conf_of_another_folder_is_not_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(own, "experiment/mine", "# @package _global_\nseed: 5\n")
    assert load(["experiment=mine"]).seed == 5
    elsewhere = own.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(RequestError, match="no such choice"):
        load(["experiment=mine"])


def test_own_experiment_can_allow_own_code(own: Path) -> None:
    experiment = "# @package _global_\nallow: {optimizer: [my.Lion]}\noptimizer: {_target_: my.Lion}\n"
    put(own, "experiment/lion", experiment)
    optimizer = load(["experiment=lion"]).optimizer
    assert isinstance(optimizer, Custom)
    assert optimizer.target == "my.Lion"


def test_cache_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIMG_CACHE", "/some/where")
    assert load().paths.cache == "/some/where"
    monkeypatch.delenv("MEDIMG_CACHE")
    assert load().paths.cache == "~/.cache/medimg"


def test_conf_is_found() -> None:
    assert (conf_dir() / "train.yaml").is_file()


def test_jobs_of_a_sweep() -> None:
    overrides = ["seed=0,1", "model=small_cnn,resnet18", "trainer.max_epochs=3", "hydra.verbose=false"]
    with hydra_session():
        planned = jobs(expanded(overrides, composed(without_sweep(overrides))))
    expected = {
        (f"seed={seed}", f"model={model}", "trainer.max_epochs=3")
        for seed in (0, 1)
        for model in ("small_cnn", "resnet18")
    }
    assert {tuple(job) for job in planned} == expected
    assert len(planned) == 4
    assert without_sweep(overrides) == overrides[2:]


def test_jobs_of_a_sweep_that_is_written_in_yaml(own: Path) -> None:
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 3,4\n"
    put(own, "experiment/study", text)
    overrides = ["experiment=study", "optimizer.lr=1e-3,1e-2"]
    with hydra_session():
        planned = jobs(expanded(overrides, composed(without_sweep(overrides))))
        replaced = jobs(expanded([*overrides, "seed=5"], composed(without_sweep(overrides))))
    assert sorted(line for job in planned for line in job if line.startswith("seed")) == ["seed=3"] * 2 + ["seed=4"] * 2
    assert sorted(line for job in replaced for line in job if line.startswith("seed")) == ["seed=5"] * 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=0,1,0", ["seed=0", "seed=1"]),
        ("seed=range(0,3)", ["seed=0", "seed=1", "seed=2"]),
        ("data.split_seed=7,7", ["data.split_seed=7"]),
        ("model.widths=[8,16],[4]", ["model.widths=[8,16]", "model.widths=[4]"]),
        ("optimizer=glob(ada*)", ["optimizer=adam", "optimizer=adamw"]),
    ],
)
def test_each_value_makes_one_job(override: str, expected: list[str]) -> None:
    with hydra_session():
        planned = jobs(expanded([override], composed([])))
    assert planned == [[line] for line in expected]


def test_a_fixed_value_in_a_sweep_file_is_for_what_the_jobs_choose(folders_of: Callable[..., Any], own: Path) -> None:
    """The default optimizer, which the configuration that all jobs share has, knows no momentum."""
    params = "{optimizer: 'sgd,rmsprop', optimizer.momentum: 0.5}"
    lines = f"# @package _global_\nhydra:\n  sweeper:\n    params: {params}\n"
    put(own, "sweep/momentum", lines)
    planned, used = folders_of("sweep=momentum")
    assert planned == used
    assert len(used) == 2
    assert all("momentum-0.5" in folder.name for folder in used)


@pytest.fixture
def folders_of(own: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs a sweep whose jobs only say where they are; returns the planned folders and the used ones."""
    used: list[Path] = []
    planned: list[Path] = []

    def job(_: DictConfig, **__: object) -> None:
        used.append(Path(HydraConfig.get().runtime.output_dir))

    def report(folders: list[RunFolder], study: Path) -> int:
        planned.extend(folder.path for folder in folders)
        return 0

    monkeypatch.setattr(sweep, "sweep_job", job)
    monkeypatch.setattr(sweep, "report", report)

    def run(*overrides: str) -> tuple[list[Path], list[Path]]:
        used.clear()
        planned.clear()
        quiet = ["hydra/launcher=basic", "hydra/job_logging=none", "hydra/hydra_logging=none"]
        assert main(["train", "-m", *quiet, *overrides]) == 0
        return planned, used

    return run


@pytest.mark.parametrize(
    ("overrides", "number"),
    [
        (["model.widths=[8,16],[4]", "data.class_aliases={a:b,c d:e}", "name=2024_01"], 2),
        (["paths.runs=my runs (new)/a=b", "model=small_cnn,covid_cnn"], 2),
    ],
)
def test_jobs_run_where_the_table_looks_for_them(
    folders_of: object, own: Path, overrides: list[str], number: int
) -> None:
    planned, used = folders_of(*overrides)  # type: ignore[operator]
    assert planned == used
    assert len(set(used)) == number
    assert len({folder.parent for folder in used}) == 1, "one study"
    runs = "my runs (new)/a=b" if "paths.runs" in overrides[0] else "runs"
    name = "2024_01" if "name=2024_01" in overrides else "ct_phantom_small_cnn"
    assert used[0].parent == own.parent / runs / name


def test_single_runs_of_the_same_second_get_folders_of_their_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(train, "_job", lambda _, **__: used.append(HydraConfig.get().runtime.output_dir))
    for _ in range(2):
        assert main(["train", "hydra/job_logging=none", "hydra/hydra_logging=none", "seed=0"]) == 0
    first, second = (Path(folder) for folder in used)
    assert first != second
    assert first.parent == second.parent == own.parent / "runs" / "ct_phantom_small_cnn"
    assert [path.name for path in first.iterdir()] == [".hydra"]
