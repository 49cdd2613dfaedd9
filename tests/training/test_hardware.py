"""What follows from the device: a compiled backbone, memory format, arithmetic, threads, and no waiting in a step."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_training import SGD, batches, classifier, configured, fit
from torch.utils._python_dispatch import TorchDispatchMode

from medimg.config import Custom, TorchvisionConfig, TrainerConfig
from medimg.errors import MedimgError
from medimg.models.layout import gains_from_channels_last
from medimg.training.hardware import channels_last, compiled, set_arithmetic


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: a value that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


class Watched(Callback):
    """Looks for waiting from the start of each step to the start of the next."""

    def __init__(self) -> None:
        self.by_step: list[int] = []
        self._waits: Waits | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        self._end()
        self._waits = Waits()
        self._waits.__enter__()

    def on_train_epoch_end(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._waits is not None:
            self._waits.__exit__(None, None, None)
            self.by_step.append(len(self._waits.found))
        self._waits = None


@pytest.mark.parametrize("optimizer", [SGD, {"_target_": "torch.optim.Adam"}])
def test_only_steps_that_log_ask_for_values(tmp_path: Path, optimizer: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: [value.item() for value in tensor])  # as on a GPU
    board = {"_target_": "medimg.training.RunTensorBoard"}
    rates = {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor", "logging_interval": "epoch"}
    changes = {"optimizer": optimizer, "logger.tensorboard": board, "callbacks.learning_rate": rates}
    watched = Watched()
    more = {"trainer.log_every_n_steps": 7, "trainer.gradient_clip_val": 1.0}
    fit(configured(changes | more), tmp_path, watched, train=20)
    assert len(watched.by_step) == 20
    asking = [number for number, waits in enumerate(watched.by_step[:-1], start=1) if waits]
    assert asking == [7, 14]


@pytest.fixture
def simple_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """What torch.compile traces is run as it is: there may be no C++ compiler."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, mode=None, **_: real(model, backend=keep))
    yield graphs
    torch._dynamo.reset()


def test_a_compiled_backbone_trains_to_the_same_weights_under_the_same_names(
    simple_compiler: list[torch.fx.GraphModule],
) -> None:
    config = configured({"optimizer": SGD})
    weights = []
    for how in (False, True):
        model = classifier(config)
        names = list(model.state_dict())
        with compiled(model.backbone, how):
            assert list(model.state_dict()) == names
            model.loss_of(batches(1)[0])[0].backward()
        assert bool(simple_compiler) is how
        weights.append([parameter.grad for parameter in model.parameters()])
        assert model.backbone._compiled_call_impl is None
    torch.testing.assert_close(weights[0], weights[1])


def test_where_torch_cannot_compile_the_run_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise OSError("no compiler")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, mode=None: real(model, backend=broken))
    model = classifier(configured())
    with (
        pytest.raises(MedimgError, match=r"trainer\.compile=max-autotune: torch cannot[\s\S]*compile=false"),
        compiled(model.backbone, "max-autotune"),
    ):
        model.loss_of(batches(1)[0])
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("backbone", "device", "mixed", "expected"),
    [
        ("mobilenet_v2", "cpu", False, True),
        ("resnet152", "cpu", False, True),
        ("vit_b_16", "cpu", False, False),
        ("convnext_tiny", "cpu", False, False),
        ("convnext_tiny", "cuda", True, True),
        ("resnet50", "cuda", True, True),
        ("resnet50", "cuda", False, False),
        ("vit_b_16", "cuda", True, False),
        ("resnet50", "mps", False, False),
    ],
)
def test_channels_last_is_a_function_of_backbone_and_device(
    backbone: str, device: str, mixed: bool, expected: bool
) -> None:
    assert gains_from_channels_last(TorchvisionConfig(backbone=backbone), device, mixed=mixed) is expected
    assert not gains_from_channels_last(Custom(target="my.net"), device, mixed=mixed)


def test_channels_last_can_be_asked_for() -> None:
    assert channels_last(configured())  # a small_cnn on the processor
    assert not channels_last(configured({"trainer.channels_last": False}))
    vit = {"_target_": "medimg.models.torchvision_backbone", "backbone": "vit_b_16", "weights": None}
    assert channels_last(configured({"model": vit, "trainer.channels_last": True}))


@pytest.fixture
def as_before() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    torch.set_num_threads(before[2])


@pytest.mark.usefixtures("as_before")
def test_32_bits_are_rounded_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = partial(TrainerConfig, accelerator="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    set_arithmetic(gpu())
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    set_arithmetic(TrainerConfig(accelerator="cpu", float32_matmul_precision="medium"))
    assert torch.get_float32_matmul_precision() == "highest"
    set_arithmetic(gpu(float32_matmul_precision="highest"))
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)


@pytest.mark.usefixtures("as_before")
def test_threads_are_as_many_as_asked_for(tmp_path: Path) -> None:
    fit(configured({"trainer.num_threads": 2}), tmp_path, train=1)
    assert torch.get_num_threads() == 2
    set_arithmetic(TrainerConfig())
    assert torch.get_num_threads() == 2
