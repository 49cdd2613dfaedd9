"""The `augment` group: how far training images are varied. Zero switches a variation off."""

from typing import Annotated

from msgspec import Meta

from medimg.config.base import BelowOne, Node, NonNegative, PositiveInt, UnitInterval


class AugmentConfig(Node, frozen=True, kw_only=True):
    """Ranges from which parameters are drawn anew for each image and epoch, or for each image and view."""

    rotate: Annotated[float, Meta(ge=0, le=180, description="degrees, to either side")] = 0.0
    zoom: Annotated[BelowOne, Meta(description="0.1: between 0.9 and 1.1 times the size")] = 0.0
    translate: Annotated[UnitInterval, Meta(description="share of the image, in each direction")] = 0.0
    shear: Annotated[float, Meta(ge=0, lt=90, description="degrees, to either side")] = 0.0
    brightness: Annotated[BelowOne, Meta(description="0.1: between 0.9 and 1.1 times the brightness")] = 0.0
    contrast: Annotated[BelowOne, Meta(description="0.1: between 0.9 and 1.1 times the contrast")] = 0.0
    noise: Annotated[
        NonNegative, Meta(description="largest standard deviation of Gaussian noise, values being 0..1")
    ] = 0.0
    horizontal_flip: Annotated[UnitInterval, Meta(description="probability; a mirrored chest is another anatomy")] = 0.0
    vertical_flip: Annotated[UnitInterval, Meta(description="probability; a mirrored chest is another anatomy")] = 0.0
    views: Annotated[
        PositiveInt | None,
        Meta(description="with a frozen trunk, so many variations of each image, in turn; null: always new ones"),
    ] = None

    @property
    def varies(self) -> bool:
        """Whether images are changed at all."""
        return any(getattr(self, name) for name in self.__struct_fields__ if name != "views")
