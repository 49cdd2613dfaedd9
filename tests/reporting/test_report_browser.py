"""Pages are looked at in a real browser, at the widths of a desk and of a phone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from evaluated_runs import write_evaluated_run
from PIL import Image
from test_report import SOME

from medimg.reporting.leaderboard import write_leaderboard
from medimg.reporting.report.source import ERRORS
from medimg.reporting.report.write import write_report
from medimg.runs import RunFolder

WIDTHS = (1280, 390)

# a headless window has a smallest width, a frame has not
HARNESS = """<!DOCTYPE html><body style="margin:0">{frames}<script>
window.onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, box = page.documentElement;
    const inside = element => element.closest(".wide") === null;
    return {{
      width: frame.clientWidth, scrolled: box.scrollWidth, height: box.scrollHeight,
      pictures: page.images.length,
      missing: [...page.images].filter(one => !one.complete || one.naturalWidth === 0).map(one => one.alt),
      wider: [...page.body.querySelectorAll("*")].filter(inside)
        .filter(one => one.getBoundingClientRect().right > frame.clientWidth + 0.5)
        .map(one => one.outerHTML.slice(0, 99)),
      cut: [...page.querySelectorAll(".wide")].filter(one => one.scrollWidth > one.clientWidth)
        .map(one => one.innerText.slice(0, 99)),
      broken: [...page.querySelectorAll("a[href^='#']")].filter(one => !page.getElementById(one.hash.slice(1))).length,
    }};
  }});
  document.title = JSON.stringify(found);
}};
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        pytest.skip("there is no chromium or google-chrome here")
    return found


def looked_at(browser: str, page: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """What the browser makes of a page at each width; fails where its console has anything to say."""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="border:0;height:900px;width:{w}px"></iframe>' for w in WIDTHS
    )
    harness = tmp_path / "harness.html"
    harness.write_text(HARNESS.format(frames=frames))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    options += ["--virtual-time-budget=20000", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [browser, *options, harness.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(html.unescape(title[1]))
    return found


def check_pages(found: list[dict[str, Any]], pictures: int) -> None:
    assert [page["width"] for page in found] == list(WIDTHS)
    for page in found:
        assert page["scrolled"] <= page["width"]
        assert page["wider"] == []
        assert page["missing"] == []
        assert page["pictures"] == pictures
        assert page["broken"] == 0
        assert page["height"] > 1000


def add_error_pictures(folder: RunFolder, paths: list[str]) -> None:
    errors = []
    for number, path in enumerate(paths):
        name = f"figures/errors/{number}.png"
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1028, 512), (number, 90, 90)).save(folder.path / name)
        errors.append({"path": path, "picture": name, "reason": None, "without_map": None})
    (folder.path / ERRORS).write_text(json.dumps({"split": "test", "errors": errors}))


def test_a_report_in_a_browser(browser: str, tmp_path: Path) -> None:
    long = "a_class_whose_name_is_much_longer_than_that_of_any_class_that_has_ever_been_seen"
    folder = write_evaluated_run(tmp_path / "run", ("normal", "covid", long))
    with folder.predictions("test").open() as stream:
        add_error_pictures(folder, [line.partition(",")[0] for line in stream][1:])
    write_report(folder.path)
    errors = (folder.path / "report.html").read_text().count("data:image/jpeg")
    assert errors > 0
    check_pages(looked_at(browser, folder.path / "report.html", tmp_path), pictures=2 + 5 * 2 + errors)


@pytest.mark.parametrize(
    "classes", [("normal", "covid"), ("ILD", "Lung_Cancer", "Normal", "pneumonia", "pneumothorax")]
)
def test_no_table_is_cut_at_the_width_of_a_desk(browser: str, tmp_path: Path, classes: tuple[str, ...]) -> None:
    folder = write_evaluated_run(tmp_path / "run", classes)
    write_report(folder.path)
    desk, _ = looked_at(browser, folder.path / "report.html", tmp_path)
    assert desk["cut"] == []


def test_the_page_of_a_study_in_a_browser(browser: str, tmp_path: Path) -> None:
    home = tmp_path / "study"
    counts = {"train": SOME, "val": SOME}
    runs = [write_evaluated_run(home / f"lr-0.001_seed-{seed}_{'long-' * 20}", counts=counts) for seed in range(2)]
    write_leaderboard(runs, home)
    found = looked_at(browser, home / "report.html", tmp_path)
    check_pages([page | {"height": page["height"] + 500} for page in found], pictures=1)


def test_the_harness_sees_what_is_wrong(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('no')</script>")
    with pytest.raises(AssertionError, match="CONSOLE"):
        looked_at(browser, page, tmp_path)
    page.write_text(
        '<div style="width:2000px">x</div><img src="data:image/png;base64,AA" alt="gone"><a href="#n">y</a>'
    )
    for found in looked_at(browser, page, tmp_path):
        assert found["scrolled"] >= 2000
        assert found["missing"] == ["gone"]
        assert len(found["wider"]) == 1
        assert found["broken"] == 1
