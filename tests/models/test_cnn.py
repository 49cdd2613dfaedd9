"""The small CNN: shapes, sizes and the same head and freezing as any other backbone."""

import pytest
import torch
from torch import nn

from medimg.config.model import SmallCNNConfig
from medimg.errors import RequestError
from medimg.models.cnn import small_cnn


@pytest.mark.parametrize("pool", ["average", "flatten"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"hidden": 7}, {"dropout": 0.5}, {"hidden": 7, "dropout": 0.5}])
def test_head_and_trunk(pool: str, channels: int, options: dict[str, float]) -> None:
    config = SmallCNNConfig(pool=pool, in_channels=channels, widths=(4, 6), **options)  # type: ignore[arg-type]
    backbone = small_cnn(config, 5, (20, 32)).eval()
    images = torch.randn(2, channels, 20, 32)
    features = backbone.features(images)
    assert features.shape == (2, 7 if "hidden" in options else 6 if pool == "average" else 6 * 5 * 8)
    assert torch.equal(backbone.head(features), backbone(images))
    assert backbone(images).shape == (2, 5)
    assert len(backbone.head) == (2 if "dropout" in options else 1)


def test_quickstart_network() -> None:
    config = SmallCNNConfig(widths=(32,), padding=0, batch_norm=False, pool="flatten", in_channels=1)
    torch.manual_seed(0)
    expected = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(13 * 13 * 32, 10))
    torch.manual_seed(0)
    backbone = small_cnn(config, 10, 28)
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(backbone(images), expected(images))


def test_preprocessing() -> None:
    found = small_cnn(SmallCNNConfig(in_channels=1), 2, None).preprocessing
    assert (found.height, found.width, found.channels) == (64, 64, 1)
    unit = found.normalise(torch.tensor([[[0.5]], [[1.0]]])[:, None])
    assert unit.flatten().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kernel_size", [2, 3, 5])
def test_the_smallest_size_is_named_and_works(padding: int, kernel_size: int) -> None:
    config = SmallCNNConfig(padding=padding, kernel_size=kernel_size, widths=(2, 2, 2), pool="flatten")
    with torch.device("meta"):
        sizes = [size for size in range(1, 50) if _works(config, size)]
    assert sizes == list(range(sizes[0], 50))
    assert small_cnn(config, 2, sizes[0])(torch.zeros(1, 3, sizes[0], sizes[0])).shape == (1, 2)
    if sizes[0] > 1:
        with pytest.raises(RequestError, match=f"{sizes[0]}x{sizes[0]}"):
            small_cnn(config, 2, (sizes[0] - 1, 60))


def _works(config: SmallCNNConfig, size: int) -> bool:
    layers: list[nn.Module] = [
        layer
        for _ in config.widths
        for layer in (nn.Conv2d(1, 1, config.kernel_size, padding=config.padding), nn.MaxPool2d(2))
    ]
    try:
        nn.Sequential(*layers)(torch.zeros(1, 1, size, size))  # on the meta device: only shapes
    except RuntimeError:
        return False
    return True
