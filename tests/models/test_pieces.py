"""A network runs over a few images at a time, with the same result."""

import torch

from medimg.models.pieces import in_pieces, piece_size


class Counting(torch.nn.Linear):
    """Notes how many images come at once."""

    def __init__(self) -> None:
        super().__init__(3 * 64 * 64, 2)
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(images))
        return super().forward(images.flatten(1))


def test_pieces_are_powers_of_two_by_the_size_of_images() -> None:
    sizes = {side: piece_size(torch.empty(1, 3, side, side)) for side in (28, 112, 224, 320, 512, 2048)}
    assert sizes == {28: 512, 112: 32, 224: 8, 320: 2, 512: 1, 2048: 1}


def test_what_comes_out_is_what_comes_out_in_one_go() -> None:
    net, images = Counting(), torch.rand(230, 3, 64, 64)
    with torch.no_grad():
        pieces = in_pieces(net, images)
        assert net.sizes == [64, 64, 64, 38]
        torch.testing.assert_close(pieces, net(images))
        assert in_pieces(net, images[:0]).shape == (0, 2)


def test_training_sees_its_batch_whole() -> None:
    net = Counting()
    in_pieces(net, torch.rand(230, 3, 64, 64)).sum().backward()  # type: ignore[no-untyped-call]
    assert net.sizes == [230]
    assert net.weight.grad is not None
