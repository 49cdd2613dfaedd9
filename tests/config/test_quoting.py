"""Values mean what they look like, whatever Hydra's grammar would make of them."""

import pytest

from medimg.config.compose import load
from medimg.config.quoting import quote, quoted


def value(override: str, *more: str) -> object:
    node: object = load([*more, override])
    for part in override.partition("=")[0].split("."):
        node = getattr(node, part)
    return node


@pytest.mark.parametrize("text", ["2024_01", "5", "1e3", "007", "true", "null_model", "a-b.c"])
def test_names_stay_text(text: str) -> None:
    assert value(f"name={text}") == text


@pytest.mark.parametrize(
    "path",
    [
        "/scans (old)/a=b",
        "/scans,new/x",
        "C:\\scans\\new",
        "/it's here",
        "/a b/",
        "/é/肺",
        "/x[1]/{y}",
        "relative/path",
        "2024",
        "/percent%20/plus+",
        "/trailing\\",
    ],
)
def test_paths_may_hold_anything(path: str) -> None:
    if "," in path:  # with -m this would be a sweep, so a comma is only taken where it was quoted
        path = path.replace(",", "")
    assert value(f"data.root={path}", "data=image_folder") == path


def test_what_was_quoted_already_is_left_alone() -> None:
    assert value('data.root="/a,b (c)"', "data=image_folder") == "/a,b (c)"
    assert value("data.root='/a,b'", "data=image_folder") == "/a,b"


@pytest.mark.parametrize("pattern", [r"^(P\d+)_", r"(?:a|b)=(\w+)\.png$", r"patient-([0-9]{3})", r"([^/]+)/"])
def test_regular_expressions(pattern: str) -> None:
    assert value(f"data.patient_regex={pattern}") == pattern


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=0", 0),
        ("data.image_size=224", 224),
        ("data.image_size=[224,192]", (224, 192)),
        ("data.root=null", None),
        ("optimizer.lr=1e-4", 1e-4),
        ("trainer.devices=2", 2),
        ("trainer.devices=[0,2]", (0, 2)),
        ("trainer.precision=32", 32),
        ("trainer.precision=16-mixed", "16-mixed"),
        ("trainer.max_time=00:12:00:00", "00:12:00:00"),
        ("data.positive_class=1", "1"),
        ("data.class_aliases={adenocarcinoma_T2:adenocarcinoma,no:normal}", {"adenocarcinoma_T2": "adenocarcinoma", "no": "normal"}),
        ("data.class_aliases={0:normal,007:covid}", {"0": "normal", "007": "covid"}),
        ("loss.class_weights={0:1.0,1:2}", {"0": 1.0, "1": 2.0}),
        ("loss.class_weights=auto", "auto"),
        ("data.classes=[a,b c]", ("a", "b c")),
        ("callbacks.learning_rate.logging_interval=null", None),
    ],
)  # fmt: skip
def test_values_keep_their_type(override: str, expected: object) -> None:
    if override.startswith("callbacks"):
        assert load([override]).callbacks["learning_rate"].logging_interval is expected  # type: ignore[union-attr]
        return
    found = value(override)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "override", ["name=a,b", "name=2024_01,2024_02", "data.root=choice(a,b)", "seed=range(0,3)", "+hydra.x=1", "~seed", "model=a,b"]
)  # fmt: skip
def test_sweeps_and_the_rest_are_untouched(override: str) -> None:
    assert quoted([override]) == [override]


def test_quote_and_hydra_agree() -> None:
    from medimg.config.compose import parse

    for text in ["a", "", " ", "it's", "back\\slash", "end\\", "\\'", "a=b,(c)", "${x}"]:
        assert parse([quote("hydra.sweep.dir", text)])[0].value() == text
