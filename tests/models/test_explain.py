"""Grad-CAM against its formula, on every kind of backbone, and against random weights."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from medimg.config.base import Component
from medimg.config.model import SmallCNNConfig, TorchvisionConfig
from medimg.models import ImageClassifier
from medimg.models import explain as module
from medimg.models.explain import class_maps, randomised_similarity

# one of each family, at a size that leaves a grid of some pixels
SIZES = {
    "alexnet": 96,
    "convnext_tiny": 96,
    "densenet121": 96,
    "efficientnet_b0": 96,
    "mobilenet_v2": 96,
    "mobilenet_v3_small": 96,
    "resnet18": 96,
    "shufflenet_v2_x0_5": 96,
    "squeezenet1_1": 96,
    "swin_t": 96,
    "vgg11": 64,
    "vit_b_16": 64,
    "small_cnn": 32,
}


def made(name: str, freeze: bool = False) -> ImageClassifier:
    config: Component = SmallCNNConfig(widths=(4, 8, 8), dropout=0.5)
    if name != "small_cnn":
        config = TorchvisionConfig(backbone=name, weights=None, freeze=freeze)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = ImageClassifier(config, ["a", "b", "c"], image_size=SIZES[name])
        _make_logits_positive(model)
        return model


def _make_logits_positive(model: ImageClassifier) -> None:
    """squeezenet has a ReLU behind its last layer; a logit below zero has no gradient."""
    for layer in model.backbone.head:
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            nn.init.constant_(layer.bias, 3.0)


def noise(name: str, count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIZES[name], SIZES[name], generator=torch.Generator().manual_seed(0))


def scaled(maps: Tensor, size: int) -> Tensor:
    """ReLU, bilinear, largest value 1: what Grad-CAM says of the coarse maps [B, h, w]."""
    fine = F.interpolate(maps.relu()[:, None], (size, size), mode="bilinear")[:, 0]
    return fine / fine.amax(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize("freeze", [False, True])
def test_where_a_mean_and_one_layer_follow_it_is_cam(freeze: bool) -> None:
    """Then the weights of the maps are those of the layer (Zhou et al., 2016; Selvaraju et al., 2017, section 3)."""
    model, images = made("resnet18", freeze).eval(), noise("resnet18")
    maps = {}
    model.backbone.net.layer4.register_forward_hook(lambda _m, _i, output: maps.update(found=output.detach()))
    with torch.no_grad():
        model(images)
    weights = model.backbone.net.fc.weight[[2, 0]].detach()
    expected = torch.einsum("bd,bdhw->bhw", weights, maps["found"])
    torch.testing.assert_close(class_maps(model, images, [2, 0]), scaled(expected, 96), rtol=1e-3, atol=1e-4)


def test_of_a_transformer_it_is_the_formula_on_the_patches() -> None:
    """The last block by hand: gradients of the logits by the normalised tokens that go into its attention."""
    model, images = made("vit_b_16").eval(), noise("vit_b_16")
    net, block = model.backbone.net, model.backbone.net.encoder.layers[-1]
    into = {}
    handle = block.register_forward_pre_hook(lambda _m, inputs: into.update(tokens=inputs[0].detach()))
    with torch.no_grad():
        model(images)
    handle.remove()
    tokens = block.ln_1(into["tokens"]).detach().requires_grad_()
    attended = block.self_attention(tokens, tokens, tokens, need_weights=False)[0] + into["tokens"]
    hidden = attended + block.mlp(block.ln_2(attended))
    logits = net.heads(net.encoder.ln(hidden)[:, 0])
    (gradient,) = torch.autograd.grad(logits[0, 1] + logits[1, 2], tokens)
    patches, slopes = tokens.detach()[:, 1:], gradient[:, 1:]  # the first is the class token
    expected = (slopes.mean(dim=1, keepdim=True) * patches).sum(-1).unflatten(1, (4, 4))
    torch.testing.assert_close(class_maps(model, images, [1, 2]), scaled(expected, 64), rtol=1e-3, atol=1e-4)


@pytest.fixture
def bright() -> ImageClassifier:
    """Class 1 is as likely as the image is bright, class 0 the reverse."""
    config = SmallCNNConfig(widths=(1,), batch_norm=False, in_channels=1)
    model = ImageClassifier(config, ["dark", "bright"], image_size=32, normalize=False)
    state = model.state_dict()
    for name, value in state.items():
        value.fill_(1.0 if name.endswith("weight") else 0.0)
    state["backbone.net.classifier.0.weight"].copy_(torch.tensor([[-1.0], [1.0]]))
    return model


def test_it_shows_where_the_evidence_is(bright: ImageClassifier) -> None:
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    images[0, :, 4:10, 20:28] = 255
    images[1, :, 22:26, 3:9] = 200
    maps = class_maps(bright, images, torch.tensor([1, 1]))
    assert maps.dtype == torch.float32 and maps.shape == (2, 32, 32)
    for shown, image in zip(maps, images[:, 0], strict=True):
        assert shown[image > 0].min() > 0.4 and shown[image > 0].max() == 1
        near = F.max_pool2d(image[None].float(), 5, stride=1, padding=2)[0] > 0
        assert shown[~near].max() == 0


def test_where_nothing_speaks_for_the_class_the_map_stays_zero(bright: ImageClassifier) -> None:
    images = torch.zeros(2, 1, 32, 32)
    images[:, :, 4:10, 20:28] = 1.0
    maps = class_maps(bright, images, [0, 1])
    assert maps[0].eq(0).all() and maps[1].max() == 1


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("freeze", [False, True])
def test_every_family_frozen_or_not(name: str, freeze: bool) -> None:
    model, images = made(name, freeze).train(), noise(name)
    before = [part.training for part in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [parameter.requires_grad for parameter in model.parameters()]
    maps = class_maps(model, images, [0, 2])
    assert maps.shape == (2, SIZES[name], SIZES[name]) and maps.dtype == torch.float32
    assert not maps.requires_grad and maps.isfinite().all()
    assert maps.min() >= 0 and set(maps.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0}
    assert torch.equal(class_maps(model, images, [0, 2]), maps)  # no dropout, no statistics of the batch
    torch.testing.assert_close(class_maps(model, images[1:], [2])[0], maps[1], rtol=1e-2, atol=1e-3)
    # nothing is left behind
    assert [part.training for part in model.modules()] == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in model.backbone.net.modules())
    assert not images.requires_grad


def test_in_inference_mode_and_without_gradients() -> None:
    model, images = made("small_cnn"), noise("small_cnn")
    expected = class_maps(model, images, [0, 1])
    with torch.inference_mode():
        maps = class_maps(model, images * 1.0, torch.tensor([0, 1]))
    with torch.no_grad():
        assert torch.equal(class_maps(model, images, [0, 1]), expected)
    assert torch.equal(maps, expected)


def test_8_bit_images_are_those_in_0_to_1() -> None:
    model, images = made("small_cnn"), (noise("small_cnn") * 255).to(torch.uint8)
    assert torch.equal(class_maps(model, images, [0, 1]), class_maps(model, images.float() / 255, [0, 1]))


@pytest.mark.parametrize("name", SIZES)
def test_maps_change_with_random_weights(name: str) -> None:
    model, images = made(name), noise(name, 4)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    found = randomised_similarity(model, images, [0, 1, 2, 0], seed=3)
    # a random squeezenet, with its ReLU behind the last layer, has no gradient for about half of the classes
    assert found.shape == (4,) and np.isfinite(found).sum() >= (1 if name == "squeezenet1_1" else 4)
    assert np.nanmax(np.abs(found)) < 0.97
    assert abs(np.nanmean(found)) < 0.8
    # the model itself is as it was, and so are the random numbers of the process
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_same_weights_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: without randomising the correlation is 1; and it is a function of the seed."""
    model, images = made("small_cnn"), noise("small_cnn")
    first, again = (randomised_similarity(model, images, [0, 1], seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.allclose(randomised_similarity(model, images, [0, 1], seed=4), first)
    monkeypatch.setattr(module, "_randomise", lambda *_: None)
    assert randomised_similarity(model, images, [0, 1]) == pytest.approx([1.0, 1.0])


def test_similarity_is_spearmans(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = made("small_cnn"), noise("small_cnn", 1)
    generator = np.random.default_rng(0)
    pair = [torch.from_numpy(generator.normal(size=(1, 1, 4, 4))) for _ in range(2)]
    calls = iter(pair)
    monkeypatch.setattr(module, "_signed", lambda *_: next(calls))
    expected = spearmanr(*(tensor.flatten() for tensor in pair)).statistic
    assert randomised_similarity(model, images, [0]) == pytest.approx([expected])
