"""Values mean what they look like, whatever Hydra's grammar would make of them."""

import pytest

from medimg.config.compose import load, parse
from medimg.config.quoting import quote, quoted


def value(override: str) -> object:
    """What Hydra reads in the quoted override."""
    return parse(quoted([override]))[0].value()


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
        "[x]",
        "{y}",
        "relative/path",
        "2024",
        "/percent%20/plus+",
        "/trailing\\",
    ],
)
def test_paths_may_hold_anything(path: str) -> None:
    if "," in path:  # with -m this would be a sweep, so a comma is only taken where it was quoted
        path = path.replace(",", "")
    assert value(f"data.root={path}") == path


def test_what_was_quoted_already_is_left_alone() -> None:
    assert value('data.root="/a,b (c)"') == "/a,b (c)"
    assert value("data.root='/a,b'") == "/a,b"


@pytest.mark.parametrize(
    "pattern", [r"^(P\d+)_", r"(?:a|b)=(\w+)\.png$", r"patient-([0-9]{3})", r"([^/]+)/", r"[A-Z](\d+)", r"('\d')\\"]
)
def test_regular_expressions(pattern: str) -> None:
    assert value(f"data.patient_regex={pattern}") == pattern


TYPED = {
    "name=2024_01": "2024_01",
    "seed=0": 0,
    "data.root=/scans (old)/a=b": "/scans (old)/a=b",
    "data.image_size=[224,192]": (224, 192),
    "data.batch_size=4": 4,
    "data.positive_class=1": "1",
    "data.class_aliases={adenocarcinoma_T2:adenocarcinoma,no:normal,0:b c,007:1a}": {
        "adenocarcinoma_T2": "adenocarcinoma",
        "no": "normal",
        "0": "b c",
        "007": "1a",
    },
    "data.classes=[a,b c,'1']": ("a", "b c", "1"),
    "data.patient_regex=^(P\\d+)_": r"^(P\d+)_",
    "loss.class_weights={0:1.0,1:2}": {"0": 1.0, "1": 2.0},
    "optimizer.lr=1e-4": 1e-4,
    "trainer.devices=[0,2]": (0, 2),
    "trainer.precision=32": 32,
    "trainer.max_time=00:12:00:00": "00:12:00:00",
    "model.dropout=null": None,
    "evaluate_test=true": True,
}


def test_values_keep_their_type_to_the_end() -> None:
    config = load(list(TYPED))
    for override, expected in TYPED.items():
        found: object = config
        for part in override.partition("=")[0].split("."):
            found = getattr(found, part)
        assert found == expected, override
        assert type(found) is type(expected), override


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.image_size=224", 224),
        ("data.root=null", None),
        ("trainer.precision=16-mixed", "16-mixed"),
        ("trainer.devices=auto", "auto"),
        ("loss.class_weights=auto", "auto"),
        ("model.freeze=true", True),
        ("model.freeze=params", "params"),
        ("model.weights=null", None),
        ("model.weights=/w (1)/a=b.pt", "/w (1)/a=b.pt"),
        ("callbacks.learning_rate.logging_interval=null", None),
        ("ckpt_path=2024", "2024"),
    ],
)
def test_values_keep_their_type(override: str, expected: object) -> None:
    found = value(override)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "override",
    [
        "name=a,b",
        "name=2024_01,2024_02",
        "data.root=choice(a,b)",
        "seed=range(0,3)",
        "+hydra.x=1",
        "~seed",
        "model=a,b",
    ],
)
def test_sweeps_and_the_rest_are_untouched(override: str) -> None:
    assert quoted([override]) == [override]


def test_quote_and_hydra_agree() -> None:
    for text in ["a", "", " ", "it's", "back\\slash", "end\\", "\\'", "a=b,(c)", "${x}"]:
        assert parse([quote("hydra.sweep.dir", text)])[0].value() == text
