import pytest

from medimg.config.compose import load
from medimg.config.windows import NAMED, Window, parse_windows
from medimg.errors import RequestError


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.window=null", ()),
        ("data.window=lung", (Window(-600, 1500),)),
        ("data.window=[-600,1500]", (NAMED["lung"],)),
        ("data.window=[lung]", (NAMED["lung"],)),
        ("data.window=[[40,400]]", (NAMED["mediastinum"],)),
        ("data.window=[lung,bone,mediastinum]", (NAMED["lung"], NAMED["bone"], NAMED["mediastinum"])),
        ("data.window=[lung,[400.5,1800],mediastinum]", (NAMED["lung"], Window(400.5, 1800), NAMED["mediastinum"])),
    ],
)
def test_as_it_is_typed(override: str, expected: tuple[Window, ...]) -> None:
    assert parse_windows(load([override]).data.window) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.window=lnug", "Did you mean 'lung'"),
        ("data.window=[lung,bone]", "not one window, nor three"),
        ("data.window=[]", "not one window, nor three"),
        ("data.window=[0,0]", "width must be above 0"),
        ("data.window=[lung,bone,[40,-1]]", "width must be above 0"),
        ("data.window=[lung,bone,3]", "3(.0)? is no window"),
        ("data.window=40", "data.window"),
        ("data.window=[1,2,3,4]", "not one window, nor three"),
        ("data.resize=crop", "data.resize"),
        ("data.multiframe=first", "data.multiframe"),
    ],
)
def test_mistakes(override: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load([override])


def test_ends() -> None:
    assert NAMED["lung"].low == -1350
    assert NAMED["bone"].low == -500
