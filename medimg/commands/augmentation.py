"""`tta=K augment=NAME`: test-time augmentation, of commands that use a trained model."""

from typing import TYPE_CHECKING, Any

from medimg.config.augment import AugmentConfig
from medimg.errors import RequestError
from medimg.runs import RunFolder

if TYPE_CHECKING:
    from medimg.models.tta import TestTimeAugmentation


def test_time_augmentation(folder: RunFolder, views: Any, choice: Any) -> "TestTimeAugmentation | None":
    """What `tta=` and `augment=` ask for; None where images are to be looked at as they are.

    Raises:
        RequestError: the number is none, or there is nothing to vary.
    """
    from medimg.config.check import check
    from medimg.config.compose import load

    if not str(views).isdigit():
        raise RequestError(f"tta={views}: how many varied views of each image, such as tta=8; 0: none")
    number = int(views)
    if not number:
        if choice is not None:
            raise RequestError(f"augment={choice} has no effect without tta=K, the number of varied views")
        return None
    config = check(folder.read_config() | {"allow": None}) if choice is None else load([f"augment={choice}"])
    if config.augment == AugmentConfig():
        raise RequestError(
            f"tta={views}: there is nothing to vary images by, as the run was trained without augmentation\n"
            "  augment=rotate_zoom names how"
        )
    from medimg.models.tta import TestTimeAugmentation

    return TestTimeAugmentation(config.augment, number, config.seed)
