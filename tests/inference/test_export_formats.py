"""Every backbone gives the same probabilities from an exported file, for any number of images."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medimg.config.compose import conf_dir, load
from medimg.config.model import SmallCNNConfig
from medimg.data.preprocessing import Preprocessing
from medimg.errors import MedimgError, RequestError
from medimg.inference.export_formats import ExportedGraph, Format, format_of
from medimg.models import Backbone, ImageClassifier

SMALLEST = {"alexnet": 63, "quickstart_cnn": 28}
METADATA = {"outputs": ["logits", "probability", "calibrated"], "classes": ["a", "b", "c"], "threshold": 0.25}
# torch.onnx traces hundreds of layers twice: these are in make soak, where all of them are exported
QUICK = {"alexnet", "covid_cnn", "mobilenet_v3_small", "quickstart_cnn", "resnet18", "small_cnn", "squeezenet1_1"}
MODELS = sorted(file.stem for file in (conf_dir() / "model").glob("*.yaml") if file.stem != "torchvision")


def graph_of(name: str, temperature: float | None = 2.0) -> ExportedGraph:
    """A random network whose outputs differ from image to image, as those of a trained one do."""
    config = load([f"model={name}", *([] if name.endswith("_cnn") else ["model.weights=null"])]).model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ImageClassifier(config, ["a", "b", "c"], image_size=SMALLEST.get(name, 32))
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.kaiming_normal_(weight)  # whose signal neither dies nor explodes on its way
    graph = ExportedGraph(model, temperature)
    _spread(graph, images_for(graph, 8))
    return graph


def _spread(graph: ExportedGraph, images: Tensor) -> None:
    """Logits of mean 3 and deviation 1: squeezenet has a ReLU behind its last layer."""
    layer = next(m for m in graph.backbone.head if isinstance(m, nn.Linear | nn.Conv2d))
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.fill_(3.0)
        layer.weight.div_(torch.from_numpy(graph.run(images)["logits"]).std(dim=0).mean())
        layer.bias.fill_(30.0)
        layer.bias.sub_(torch.from_numpy(graph.run(images)["logits"]).mean(dim=0) - 3)


def images_for(graph: ExportedGraph, count: int) -> Tensor:
    """Coarse patches: images that are alike in all but noise would be told apart by rounding alone."""
    size = graph.preprocessing
    patches = torch.rand(count, size.channels, 4, 4, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(patches, (size.height, size.width))


def largest_difference(graph: ExportedGraph, form: Format, file: Path) -> float:
    """Of the probabilities of batches of three images and of one."""
    kind = format_of(form)
    kind.write(graph, METADATA, file)
    run, images = kind.load(file), images_for(graph, 4)
    ours = [graph.run(batch) for batch in (images[:3], images[3:])]
    theirs = [run(batch) for batch in (images[:3], images[3:])]
    assert all(set(found) == {"logits", "probability", "calibrated"} for found in theirs)
    spread = np.ptp(ours[0]["probability"], axis=0).max()
    assert spread > 0.01, "all images alike: nothing would be compared"
    names = ("probability", "calibrated")
    return max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(ours, theirs, strict=True) for name in names)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] * (name not in QUICK)) for name in MODELS]
)
def test_every_backbone_in_onnx(name: str, tmp_path: Path) -> None:
    assert largest_difference(graph_of(name), "onnx", tmp_path / "model.onnx") < 1e-4


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "covid_cnn"])
def test_torch_export(name: str, tmp_path: Path) -> None:
    graph = graph_of(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as it may be trained
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No complete tensor")  # torch says it of such weights
        assert largest_difference(graph, "torch", tmp_path / "model.pt2") < 1e-6


def test_outputs_are_softmax_with_and_without_temperature() -> None:
    graph = graph_of("small_cnn", temperature=4.0)
    images = images_for(graph, 5)
    found = graph.run(images)
    logits = found["logits"].astype(np.float64)
    powers = np.exp(logits)
    assert found["probability"] == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-6)
    powers = np.exp(logits / 4)
    assert found["calibrated"] == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-6)
    assert set(graph_of("small_cnn", temperature=None).run(images)) == {"logits", "probability"}


def test_values_are_normalised_inside() -> None:
    graph = graph_of("small_cnn")
    images = images_for(graph, 2)
    with torch.no_grad():
        expected = graph.backbone((images - 0.5) / 0.25)
    assert graph.run(images)["logits"] == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_model_of_the_border_sees_no_more_of_what_it_is_given(tmp_path: Path) -> None:
    graph = graph_of("small_cnn")
    graph.preprocessing = replace(graph.preprocessing, region="border")
    kind = format_of("torch")
    kind.write(graph, METADATA, tmp_path / "model.pt2")
    images = images_for(graph, 2)
    other = images.clone()
    other[..., 8:24, 8:24] = 0  # of 32 pixels: the border is 4 on each side
    run = kind.load(tmp_path / "model.pt2")
    np.testing.assert_array_equal(run(images)["logits"], run(other)["logits"])


def test_a_network_that_cannot_be_traced_is_named(tmp_path: Path) -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(48, 3)

        def forward(self, images: Tensor) -> Tensor:
            flat = images.flatten(1)
            out: Tensor = self.layer(flat if float(flat.mean()) > 0.1 else -flat)
            return out

    model = ImageClassifier(SmallCNNConfig(), ["a", "b", "c"], image_size=16)
    size = Preprocessing(4, 4, mean=(0.5,) * 3, std=(0.5,) * 3, channels=3)
    model.backbone, model.preprocessing = Backbone(Moody(), size), size
    with pytest.raises(MedimgError, match="Moody cannot be exported"):
        format_of("torch").write(ExportedGraph(model, None), METADATA, tmp_path / "model.pt2")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(RequestError, match=r"pip install 'medimg\[export\]'"):
        format_of("onnx")
    assert format_of("torch").suffix == ".pt2"
