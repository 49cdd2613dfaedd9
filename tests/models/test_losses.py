"""Focal loss against torchvision's and torch's losses; class weights against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from medimg.errors import RequestError
from medimg.models.losses import FocalLoss, class_weights

LOGITS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(40) % 3
CLASSES = ("cat", "dog", "emu")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_two_classes_are_torchvisions_sigmoid_focal_loss(gamma: float) -> None:
    logits, labels = LOGITS[:, :2], LABELS.clamp(max=1)
    expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.double(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(FocalLoss(gamma)(logits, labels), expected)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64)])
def test_gamma_zero_is_cross_entropy(weight: torch.Tensor | None) -> None:
    expected = nn.CrossEntropyLoss(weight=weight)(LOGITS, LABELS)
    torch.testing.assert_close(FocalLoss(0.0, weight)(LOGITS, LABELS), expected)


def test_weighted_mean_is_that_of_copies() -> None:
    """A weight of 2 is the image twice."""
    repeats = torch.tensor([1, 2, 3])
    twice = torch.repeat_interleave(torch.arange(40), repeats[LABELS])
    expected = FocalLoss(2.0)(LOGITS[twice], LABELS[twice])
    torch.testing.assert_close(FocalLoss(2.0, repeats.double())(LOGITS, LABELS), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients(gamma: float) -> None:
    loss = FocalLoss(gamma, torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda logits: loss(logits, LABELS[:4]), LOGITS[:4].clone().requires_grad_())
    certain = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    FocalLoss(gamma)(certain, torch.tensor([0, 0])).backward()
    assert certain.grad is not None and certain.grad.isfinite().all()


def test_auto_is_scikit_learns_balanced() -> None:
    labels = ["cat"] * 7 + ["dog"] * 2 + ["emu"]
    found = class_weights("auto", CLASSES, labels)
    assert found is not None and found.dtype == torch.float32
    expected = compute_class_weight("balanced", classes=np.array(CLASSES), y=labels)
    assert found.tolist() == pytest.approx(expected.tolist())
    weight = dict(zip(CLASSES, found.tolist(), strict=True))
    assert sum(weight[label] for label in labels) / len(labels) == pytest.approx(1)


def test_by_name_in_the_order_of_the_classes() -> None:
    found = class_weights({"emu": 3, "cat": 0, "dog": 0.5}, CLASSES, [])
    assert found is not None and found.tolist() == [0.0, 0.5, 3.0]
    assert class_weights(None, CLASSES, []) is None


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"cat": 1, "dog": 1}, "'emu' has no weight"),
        ({"cat": 1, "dog": 1, "emu": 1, "Emus": 1}, "'Emus' is not a class. Did you mean 'emu'?"),
        ({"cat": 0, "dog": 0, "emu": 0}, "all weights are 0"),
        ("auto", "class emu"),
    ],
)
def test_what_is_refused(spec: str, found: str) -> None:
    with pytest.raises(RequestError) as error:
        class_weights(spec, CLASSES, ["cat", "dog"])  # type: ignore[arg-type]
    assert found in str(error.value) and "loss.class_weights" in str(error.value)
