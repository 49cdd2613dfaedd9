"""Weights are loaded completely or refused, whatever the file; nothing is ever left random."""

import io
import pickle
import re
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from medimg.config.model import TorchvisionConfig
from medimg.errors import RequestError
from medimg.models.backbone import Backbone, head_names
from medimg.models.torchvision_models import torchvision_backbone
from medimg.models.weights import load_state, resolve_weights

NAME = "squeezenet1_1"  # the smallest file
HEAD = ("classifier.1.weight", "classifier.1.bias")
URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(torchvision.models.get_model(NAME, weights=None).state_dict())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network here")

    monkeypatch.setattr("torch.hub.urlopen", refuse)


def build(weights: str | Path, name: str = NAME, **options: Any) -> Any:
    config = TorchvisionConfig(backbone=name, weights=str(weights), **options)
    return torchvision_backbone(config, num_classes=3, image_size=64)


def assert_trunk_is(backbone: Backbone, state: dict[str, Tensor]) -> None:
    found = backbone.net.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state if key not in HEAD)


def saved(content: object, folder: Path, name: str = "mine.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def refused(weights: str | Path, name: str = NAME) -> str:
    with pytest.raises(RequestError) as error:
        build(weights, name)
    text = str(error.value)
    assert text.startswith("model.weights: ") and len(text.splitlines()) <= 8
    return text


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_state_dict_files(wrapper: str | None, prefix: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    content: object = {prefix + key: value for key, value in state.items()}
    content = {wrapper: content, "epoch": 3} if wrapper else content
    assert_trunk_is(build(saved(content, tmp_path)), state)


def test_checkpoints_of_runs(state: dict[str, Tensor], tmp_path: Path) -> None:
    content = {f"backbone.net.{key}": value for key, value in state.items()} | {"criterion.weight": torch.ones(3)}
    assert_trunk_is(build(saved({"state_dict": content, "epoch": 1}, tmp_path, "best.ckpt")), state)


def test_the_files_own_head_may_be_absent_or_of_any_shape(state: dict[str, Tensor], tmp_path: Path) -> None:
    without = {key: value for key, value in state.items() if key not in HEAD}
    other = {**state, "classifier.1.weight": torch.zeros(9, 512, 1, 1), "classifier.1.bias": torch.zeros(9)}
    for content in (without, other):
        backbone = build(saved(content, tmp_path))
        assert_trunk_is(backbone, state)
        assert backbone.head[1].weight.any()


def test_another_models_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = saved(state, tmp_path)
    text = refused(file, "shufflenet_v2_x0_5")
    assert str(file) in text and "shufflenet_v2_x0_5" in text and "another model" in text
    assert "conv1.0.weight" in text and "features.0.weight" in text  # what is missing, and what is too many
    small = saved(torchvision.models.shufflenet_v2_x0_5().state_dict(), tmp_path)
    assert "shape" in refused(small, "shufflenet_v2_x1_0")


def test_one_missing_tensor_is_enough(state: dict[str, Tensor], tmp_path: Path) -> None:
    del state["features.12.expand3x3.bias"]
    assert "features.12.expand3x3.bias" in refused(saved(state, tmp_path))


def test_nan_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    state["features.0.bias"][3] = float("nan")
    assert "NaN" in refused(saved(state, tmp_path)) and "features.0.bias" in refused(tmp_path / "mine.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"state_dict": {}}, {"a": 1}, {1: torch.ones(1)}, torch.ones(3), {"features.0.bias": "x"}]
)
def test_what_is_no_state_dict(content: object, tmp_path: Path) -> None:
    assert "not a state dict" in refused(saved(content, tmp_path))


def test_damaged_files(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = saved(state, tmp_path)
    whole = file.read_bytes()
    legacy = io.BytesIO()
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    noise = torch.randint(256, (5000,), dtype=torch.uint8).numpy().tobytes()
    for content in (whole[: len(whole) // 2], legacy.getvalue()[:100_000], noise, b"", b"<html>404</html>"):
        file.write_bytes(content)
        text = refused(file)
        assert str(file) in text and "cannot be read" in text


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.pth"
    file.write_bytes(pickle.dumps(Harmful(), protocol=2))
    assert "pickled code" in refused(file)
    assert "pickled code" in refused(saved(nn.Linear(1, 1), tmp_path, "module.pth"))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("spec", ["gone.pth", "folder/gone", "./imagenet", "~/gone.ckpt"])
def test_missing_files(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no file" in refused(spec)


def test_a_missing_file_does_not_matter_where_a_checkpoint_follows() -> None:
    config = TorchvisionConfig(backbone=NAME, weights="gone.pth")
    assert torchvision_backbone(config, 3, 64, load_weights=False).head[1].out_channels == 3


def test_names() -> None:
    members = torchvision.models.ResNet50_Weights
    assert resolve_weights("imagenet", "resnet50") is members.IMAGENET1K_V1
    assert resolve_weights("default", "resnet50") is members.IMAGENET1K_V2
    assert resolve_weights("DEFAULT", "resnet50") is members.IMAGENET1K_V2
    assert resolve_weights("IMAGENET1K_V2", "resnet50") is members.IMAGENET1K_V2
    assert resolve_weights(None, "resnet50") is None
    assert resolve_weights("a/b", "resnet50") == Path("a/b")


@pytest.mark.parametrize(
    ("spec", "name", "allowed"),
    [
        ("IMAGENET1K_V3", "resnet50", "IMAGENET1K_V1, IMAGENET1K_V2"),
        ("imagnet", "resnet18", "Did you mean 'imagenet'"),
        ("imagenet", "vit_h_14", "default, IMAGENET1K_SWAG_E2E_V1"),
        ("IMAGENET1K_FEATURES", "vgg16", "IMAGENET1K_V1"),  # its linear layers are NaN
    ],
)
def test_unknown_names(spec: str, name: str, allowed: str) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        resolve_weights(spec, name)
    assert repr(spec) in str(error.value) and name in str(error.value)


@pytest.mark.usefixtures("offline")
def test_a_file_in_torchvisions_cache_needs_no_network(state: dict[str, Tensor], cache: Path) -> None:
    saved(state, cache, "squeezenet1_1-b8a52dc0.pth")
    assert_trunk_is(build("imagenet"), state)
    assert_trunk_is(build("default"), state)


@pytest.mark.usefixtures("offline")
def test_no_network(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = refused("imagenet")
    assert "no network here" in text
    assert all(part in text for part in ("squeezenet1_1-b8a52dc0.pth", str(cache), URL, "model.weights=null"))
    assert capsys.readouterr().out == ""
    assert not list(cache.iterdir())


class Response(io.BytesIO):
    def info(self) -> Message:
        return Message()


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b""])
def test_a_download_that_is_not_the_file(body: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.urlopen", lambda *_, **__: Response(body))
    assert "hash" in refused("imagenet")
    assert not list(cache.iterdir())


@pytest.mark.usefixtures("offline")
def test_a_damaged_file_in_the_cache(state: dict[str, Tensor], cache: Path) -> None:
    file = saved(state, cache, "squeezenet1_1-b8a52dc0.pth")
    file.write_bytes(file.read_bytes()[:100_000])
    text = refused("imagenet")
    assert "damaged" in text and str(file) in text and URL in text


@pytest.mark.usefixtures("offline")
def test_another_models_file_in_the_cache(cache: Path) -> None:
    file = saved(torchvision.models.shufflenet_v2_x0_5().state_dict(), cache, "squeezenet1_1-b8a52dc0.pth")
    assert str(file) in refused("imagenet")


def densenet() -> nn.Module:
    return torchvision.models.DenseNet(growth_rate=4, block_config=(1, 2), num_init_features=4)  # type: ignore[no-any-return]


def test_densenets_old_keys(tmp_path: Path) -> None:
    state = densenet().state_dict()
    old = {
        re.sub(r"(denselayer\d\.[a-z]+)([12])", r"\1.\2", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")  # nor had they these
    }
    assert "features.denseblock2.denselayer2.norm.1.weight" in old
    net = densenet()
    load_state(net, saved(old, tmp_path), "densenet121")
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items() if "classifier" not in key)


@pytest.mark.parametrize("name", ["googlenet", "mnasnet0_5"])
def test_auxiliary_heads_and_bare_dicts(name: str, tmp_path: Path) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    state = dict(torchvision.models.get_model(name, weights=None, **options).state_dict())
    backbone = build(saved(state, tmp_path), name)
    found = backbone.net.state_dict()
    head = head_names(backbone.net)[-1]
    assert all(torch.equal(found[key], state[key]) for key in found if not key.startswith(head))


def transformer(size: int) -> VisionTransformer:
    return VisionTransformer(size, patch_size=8, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=4)


@pytest.mark.parametrize("side", [7, 3])
def test_position_embeddings_are_interpolated(side: int, tmp_path: Path) -> None:
    state = transformer(56).state_dict()
    # A ramp over the rows stays one, from the same first to the same last value.
    rows = torch.linspace(0, 1, 7)[:, None].expand(7, 7).reshape(1, 49, 1).expand(1, 49, 4)
    state["encoder.pos_embedding"] = torch.cat([torch.full((1, 1, 4), 9.0), rows], dim=1)
    net = transformer(8 * side).eval()
    load_state(net, saved(state, tmp_path), "vit_b_16")
    found = net.state_dict()["encoder.pos_embedding"][0, :, 0]
    assert found[0] == 9
    expected = torch.linspace(0, 1, side)[:, None].expand(side, side).flatten()
    torch.testing.assert_close(found[1:], expected, atol=1e-6, rtol=0)
    assert net(torch.zeros(1, 3, 8 * side, 8 * side)).shape == (1, 1000)


def test_one_channel_is_the_sum_of_the_pretrained_kernels(state: dict[str, Tensor], tmp_path: Path) -> None:
    backbone = build(saved(state, tmp_path), in_channels=1)
    expected = state["features.0.weight"].sum(1, keepdim=True)
    assert torch.equal(backbone.net.features[0].weight, expected)
