"""Every number of a page is looked up where the page says that it was read, by code of its own."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import yaml
from evaluated_runs import edit, write_evaluated_run

from medimg.config import TrainConfig
from medimg.reporting.report.write import write_report
from medimg.runs import RunFolder

CLASSES = ("normal", "covid")


class Page(HTMLParser):
    """What a page cites, and the text that it does not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cited: list[tuple[str, str | None, str]] = []  # source, value, text
        self.worded: list[tuple[str, str]] = []  # source, and what stands there, shown in other words
        self.free: list[str] = []
        self.headings: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in {"meta", "img", "br"}:
            self._open.append((tag, dict(attrs)))
            found = dict(attrs)
            if "data-raw" in found:
                self.worded.append((str(found["data-source"]), str(found["data-raw"])))
            elif "data-source" in found:
                self.cited.append((str(found["data-source"]), found.get("data-value"), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"meta", "img", "br"}:
            assert self._open.pop()[0] == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if any("data-raw" in attributes for _, attributes in self._open):
            return
        if any("data-source" in attributes for _, attributes in self._open):
            source, value, text = self.cited[-1]
            self.cited[-1] = (source, value, text + data)
        elif not {"style", "pre", "code", "sup"} & set(tags):
            self.free.append(data)
        if tags and tags[-1] in {"h1", "h2", "h3"}:
            self.headings.append(data)


def page_of(folder: RunFolder) -> Page:
    write_report(folder.path)
    return Page((folder.path / "report.html").read_text(encoding="utf-8"))


def looked_up(folder: Path, source: str) -> object:
    """What stands at a place such as `results.json:/test/f1_macro`."""
    if "?" in source:
        name, _, query = source.partition("?")
        wanted = dict(parse_qsl(query))
        column = wanted.pop("distinct")
        rows = list(csv.DictReader((folder / name).open(newline="")))
        return len({row[column] for row in rows if all(row[key] == value for key, value in wanted.items())} - {""})
    name, _, pointer = source.partition(":")
    text = (folder / name).read_text(encoding="utf-8")
    if name.endswith(".csv"):
        value: object = list(csv.DictReader(text.splitlines()))
    else:
        value = yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text)
    for key in pointer.split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]  # type: ignore[index]
    return value


def shows(text: str, value: float) -> bool:
    """Whether a text such as `0.812`, `1,024`, `2.5 min` or `1.2 M` is the number, to the digits that it has."""
    digits, _, unit = text.replace(",", "").partition(" ")
    scale = {"": 1, "s": 1, "min": 60, "h": 3600, "M": 1e6}[unit]
    places = len(digits.partition(".")[2].partition("e")[0])
    near = 0.5 * 10.0**-places if "e" not in digits else abs(value) * 1e-5
    return abs(float(digits) - value / scale) <= near + 1e-9


def check_numbers(folder: RunFolder, page: Page) -> int:
    """Compares every cited value with its file; returns how many numbers there were."""
    numbers = 0
    for source, raw in page.worded:
        assert looked_up(folder.path, source) == raw
    for source, value, text in page.cited:
        if source.startswith("runs:"):
            continue
        found = looked_up(folder.path, source)
        if text == "not defined":
            assert found is None
        elif value is None:
            words = {True: "yes", False: "no", None: "none"}
            assert text == (words[found] if found is None or isinstance(found, bool) else str(found))
        else:
            assert float(value) == float(found), source  # type: ignore[arg-type]
            assert shows(text, float(value)), (source, text, value)
            numbers += 1
    return numbers


def uncited_digits(page: Page) -> set[str]:
    """Words with digits that stand in the page without a source."""
    return {word.strip("(),.;:") for text in page.free for word in text.split() if re.search(r"\d", word)}


# what is explained, and names of metrics; no measurement
PROSE = {"95", "0.8", "F1", "macro-F1", "Macro-F1", "0"}

WORDS = {"val": "validation", "test": "test"}
SOME = {"normal": 20, "covid": 24}
CASES = {
    "binary": {"counts": {"train": SOME, "val": SOME, "test": {"normal": 12, "covid": 18}}},
    "multi-class": {
        "classes": ("ILD", "Normal", "pneumonia"),
        "counts": {split: {"ILD": 14, "Normal": 20, "pneumonia": 16} for split in ("train", "val", "test")},
    },
    "absent class": {
        "classes": ("ILD", "Normal", "pneumonia"),
        "counts": {"train": {"ILD": 14, "Normal": 20, "pneumonia": 16}, "val": {"ILD": 14, "Normal": 20}},
    },
    "no test": {"counts": {"train": SOME, "val": SOME}},
    "no val": {"counts": {"train": SOME, "test": SOME}},
    "nothing evaluated": {"counts": {"train": SOME}},
    "synthetic": {"synthetic": True},
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, RunFolder, Page]:
    options = CASES[request.param]
    folder = write_evaluated_run(tmp_path_factory.mktemp("runs") / "run", **options)  # type: ignore[arg-type]
    return request.param, folder, page_of(folder)


def test_every_number_is_found_where_the_page_says(case: tuple[str, RunFolder, Page]) -> None:
    _, folder, page = case
    splits = len([split for split in ("val", "test") if split in folder.results()])
    assert check_numbers(folder, page) > 10 + 40 * splits
    assert uncited_digits(page) - PROSE == set()


def test_the_page_says_what_it_has_and_what_it_lacks(case: tuple[str, RunFolder, Page]) -> None:
    name, folder, page = case
    text = " ".join(" ".join(page.free).split())
    results = folder.results()
    assert "Not for clinical use." in text
    assert ("Synthetic images." in text) == (name == "synthetic")
    assert ("There is no test split" in text) == (name in {"no test", "absent class", "nothing evaluated"})
    assert ("There is no validation split" in text) == (name in {"no val", "nothing evaluated"})
    for split in ("val", "test"):
        assert (f"Scores on {WORDS[split]}" in page.headings) == (split in results)
        assert (folder.path / f"figures/{split}_roc.png").is_file() == (split in results)
    assert ("Operating points" in page.headings) == (len(folder.info()["classes"]) == 2 and len(results["ci95"]) > 0)
    assert ("No images of" in text) == (name == "absent class")


def test_the_page_needs_nothing_else(case: tuple[str, RunFolder, Page]) -> None:
    _, folder, page = case
    text = (folder.path / "report.html").read_text()
    assert "<script" not in text
    assert all(str(image["src"]).startswith("data:image/") and image["alt"] for image in page.images)
    assert not re.search(r'href="(?!#)', text)
    assert not re.search(r"url\(|@import", text)
    assert len(text) < 1_500_000
    assert "<x>" not in text  # of the finding


def test_a_trained_run_has_its_report(tiny_run: tuple[RunFolder, TrainConfig]) -> None:
    folder, _ = tiny_run
    page = Page((folder.path / "report.html").read_text(encoding="utf-8"))
    assert check_numbers(folder, page) > 100
    assert uncited_digits(page) - PROSE == set()
    wrong = sum(
        row["label"] != row["prediction"]
        for row in csv.DictReader((folder.path / "predictions/test.csv").open(newline=""))
    )
    pictured = [image for image in page.images if str(image["src"]).startswith("data:image/jpeg")]
    assert len(pictured) == min(wrong, 12)
    assert len(list((folder.path / "figures/errors").glob("*.png"))) == min(wrong, 12)
    for name in ("training_loss", "training_f1_macro", "test_confusion", "test_roc", "val_reliability"):
        assert (folder.path / f"figures/{name}.png").is_file()
    text = " ".join(" ".join(page.free).split())
    assert "Synthetic images." in text


def test_errors_are_the_most_confident_ones_in_order(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run")
    page = page_of(folder)
    rows = list(csv.DictReader((folder.path / "predictions/test.csv").open(newline="")))
    wrong = sorted(-float(row[f"prob_{row['prediction']}"]) for row in rows if row["label"] != row["prediction"])
    shown = [
        float(str(value)) for source, value, _ in page.cited if re.match(r"predictions/test.csv:/\d+/prob", source)
    ]
    assert shown == [-probability for probability in wrong[:12]]
    assert shown


def test_names_of_classes_runs_and_groups_are_escaped(tmp_path: Path) -> None:
    evil = ("<b>bold</b>", "a&b\"'$x$_{{ 1 }}")
    folder = write_evaluated_run(tmp_path / "run", evil)
    edit(folder.run_file, name="<script>alert(1)</script>")
    page = page_of(folder)
    text = (folder.path / "report.html").read_text()
    assert "<b>bold" not in text
    assert "<script" not in text
    assert "{{ 1 }}" in "".join(page.free)
    assert check_numbers(folder, page) > 50


def test_a_run_that_did_not_end_says_so(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run")
    assert "The run did not end" not in "".join(page_of(folder).free)
    edit(folder.run_file, status="interrupted")
    page = page_of(folder)
    assert "The run did not end" in "".join(page.free)
    assert ("run.json:/status", None, "interrupted") in page.cited


def test_a_control_says_so_at_the_top(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run")
    assert "A control" not in "".join(page_of(folder).free)
    folder.config_file.write_text(folder.config_file.read_text().replace("region: whole", "region: border"))
    assert "A control, data.region=border" in "".join(page_of(folder).free)
    assert "A control, data.region=border" in (folder.path / "model_card.md").read_text()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run")
    folder.check_file.write_text("{")
    with pytest.raises(Exception, match=r"check\.json cannot be read"):
        write_report(folder.path)


def test_an_ensemble_is_reported_like_a_run(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "both", evaluated=("test",))
    info = {name: folder.info()[name] for name in ("classes", "positive_class", "command")}
    members = [
        {"run": f"../seed_{seed}", "checkpoint": "best", "value": 0.5 + seed / 8, "seed": seed} for seed in (0, 1)
    ]
    (folder.path / "ensemble.json").write_text(
        json.dumps(info | {"members": members, "kind": "mean", "region": "border"})
    )
    for name in ("run.json", "config.yaml", "metrics.csv", "check.json"):
        (folder.path / name).unlink()
    page = page_of(folder)
    assert "Members of the ensemble" in page.headings
    assert "A control, data.region=border" in "".join(page.free)
    assert "Model and training" not in page.headings
    assert {"Scores on test", "Calibration"} <= set(page.headings)
    assert check_numbers(folder, page) > 50
    cited = {source: text for source, _, text in page.cited}
    assert cited["ensemble.json:/members/1/value"] == "0.625"
    assert cited["ensemble.json:/members/1/run"] == "../seed_1"
    assert "| 0 | 0.500 | best | ../seed_0 |" in (folder.path / "model_card.md").read_text()


def test_looks_at_the_same_test_split_are_counted(tmp_path: Path) -> None:
    first = write_evaluated_run(tmp_path / "a")
    write_evaluated_run(tmp_path / "b" / "c")
    write_evaluated_run(tmp_path / "no_look", evaluated=("val",))
    other = write_evaluated_run(tmp_path / "other_images")
    edit(other.run_file, images_fingerprint="o" * 64)
    (looks,) = [value for source, value, _ in page_of(first).cited if source == "runs:looks"]
    assert looks == "2"


def test_rendering_again_gives_the_same_page_and_leaves_no_old_figures(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run")
    write_report(folder.path)
    before = (folder.path / "report.html").read_bytes()
    (folder.path / "figures/old_roc.png").write_bytes(b"")
    write_report(folder.path)
    assert (folder.path / "report.html").read_bytes() == before
    assert not (folder.path / "figures/old_roc.png").exists()
