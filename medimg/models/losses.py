"""Losses that torch does not have, and weights for classes of unequal size."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medimg.errors import RequestError, suggestion


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - p)^gamma, p being the probability of the true class (Lin et al., 2017).

    Easy images count for less: with gamma 2, one of p = 0.9 has a hundredth of its cross-entropy.

    Args:
        gamma: 0 is plain cross-entropy.
        weight: one number for each class; the mean is a weighted one, as `nn.CrossEntropyLoss` has it.
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss, a scalar, of logits [B, C] and class indices [B]."""
        log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
        # Not below the smallest number: for gamma under 1 the gradient at 0 is infinite, and infinity times 0 is NaN.
        miss = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        losses = -(miss**self.gamma) * log_p
        if self.weight is None:
            return losses.mean()
        weights = self.weight[labels]
        return (weights * losses).sum() / weights.sum()


def class_weights(
    spec: Literal["auto"] | Mapping[str, float] | None, classes: Sequence[str], train_labels: Iterable[str]
) -> Tensor | None:
    """Weights [C] float32 in the order of `classes`, or None.

    Args:
        spec: "auto": n / (C * n_c), so that each class weighs as much as any other and an image weighs 1 on average;
            or a weight for each class, by name; or None.
        classes: class names in the order of their indices.
        train_labels: class name of each image of the train split; only "auto" looks at it.

    Raises:
        RequestError: names that are unknown or left out, only zeros, or "auto" and a class without images.
    """
    if spec is None:
        return None
    if spec == "auto":
        return _inverse_frequency(classes, Counter(train_labels))
    given: Mapping[str, float] = spec
    unknown = [name for name in given if name not in classes]
    missing = [name for name in classes if name not in given]
    if unknown or missing:
        wrong = [f"{name!r} is not a class. {suggestion(name, classes)}".rstrip() for name in unknown]
        wrong += [f"{name!r} has no weight." for name in missing]
        raise RequestError(
            f"loss.class_weights: {' '.join(wrong)}\nEach class needs one: {', '.join(classes)}; or use auto, or null."
        )
    if not any(given.values()):
        raise RequestError("loss.class_weights: all weights are 0, so nothing would be learnt. Give one that is not.")
    return torch.tensor([given[name] for name in classes], dtype=torch.float32)


def _inverse_frequency(classes: Sequence[str], counts: Mapping[str, int]) -> Tensor:
    empty = [name for name in classes if not counts.get(name)]
    if empty:
        raise RequestError(
            f"loss.class_weights=auto: no image of the train split is of class {', '.join(empty)}.\n"
            "Add images of it, leave it out of data.classes, or set loss.class_weights=null."
        )
    total = sum(counts[name] for name in classes)
    return torch.tensor([total / (len(classes) * counts[name]) for name in classes], dtype=torch.float32)
