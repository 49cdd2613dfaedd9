"""`tta=K augment=NAME`: test-time augmentation, of commands that use a trained model."""

from typing import TYPE_CHECKING

from medimg.config.augment import AugmentConfig
from medimg.errors import RequestError
from medimg.runs import RunFolder

if TYPE_CHECKING:
    from medimg.models.tta import TestTimeAugmentation


def asked_augmentation(views: int, choice: str | None) -> AugmentConfig | None:
    """The choice of the group augment, one of the user's own too, that `augment=` names; None where it is not given.

    Raises:
        RequestError: there is no such choice, or there are no views to vary.
    """
    from medimg.config.compose import load

    if choice is None:
        return None
    if not views:
        raise RequestError(f"augment={choice} has no effect without tta=K, the number of varied views, such as tta=8")
    return load([f"augment={choice}"]).augment


def test_time_augmentation(folder: RunFolder, views: int, choice: str | None) -> "TestTimeAugmentation | None":
    """What `tta=` and `augment=` ask for; None where images are to be looked at as they are.

    Raises:
        RequestError: there is nothing to vary.
    """
    from medimg.config.check import check

    asked = asked_augmentation(views, choice)
    if not views:
        return None
    run = check(folder.read_config() | {"allow": None})
    augmentation = run.augment if asked is None else asked
    if augmentation == AugmentConfig():
        whose = "the run was trained without augmentation" if asked is None else f"augment={choice} varies nothing"
        raise RequestError(
            f"tta={views}: there is nothing to vary images by, as {whose}\n  augment=rotate_zoom names how"
        )
    from medimg.models.tta import TestTimeAugmentation

    return TestTimeAugmentation(augmentation, views, run.seed)
