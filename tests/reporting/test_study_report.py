"""The page of a study, compared with its leaderboard and the folders of its runs."""

import csv
from pathlib import Path

import yaml
from evaluated_runs import write_evaluated_run
from handmade_runs import write_run
from test_report import PROSE, SOME, Page, check_numbers, uncited_digits

from medimg.reporting.leaderboard import write_leaderboard
from medimg.runs import RunFolder

COUNTS = {"train": SOME, "val": SOME}


def page_of(home: Path, runs: list[RunFolder]) -> Page:
    write_leaderboard(runs, home)
    return Page((home / "report.html").read_text(encoding="utf-8"))


def test_every_number_is_in_the_leaderboard_or_a_run(tmp_path: Path) -> None:
    home = tmp_path / "study"
    runs = [write_evaluated_run(home / f"lr_{name}", counts=COUNTS) for name in ("a", "b")]
    config = runs[1].config_file.read_text().replace("seed: 0", "seed: 1")
    runs[1].config_file.write_text(config)
    others = [write_run(home / f"other_{seed}", "optimizer.lr=0.5", f"seed={seed}", value=0.5) for seed in (0, 1)]
    page = page_of(home, [*runs, *others])
    assert check_numbers(RunFolder(home), page) > 15
    assert uncited_digits(page) - PROSE == set()
    rows = list(csv.DictReader((home / "leaderboard.csv").open(newline="")))
    cited = {source: value for source, value, _ in page.cited}
    for place, row in enumerate(rows):
        assert cited[f"leaderboard.csv:/{place}/mean"] == repr(float(row["mean"]))
    low, high = runs[0].results()["ci95"]["val"]["f1_macro"]
    assert cited["lr_a/results.json:/ci95/val/f1_macro/0"] == repr(low)
    assert cited["lr_a/results.json:/ci95/val/f1_macro/1"] == repr(high)


def test_the_one_look_at_test_is_offered_until_it_is_taken(tmp_path: Path) -> None:
    run = write_evaluated_run(tmp_path / "study" / "only", evaluated=("val",))
    page_of(tmp_path / "study", [run])
    text = (tmp_path / "study" / "report.html").read_text()
    assert f"medimg evaluate run={run.shown} split=test" in text
    write_evaluated_run(tmp_path / "again" / "only")
    page_of(tmp_path / "again", [RunFolder(tmp_path / "again" / "only")])
    assert "medimg evaluate" not in (tmp_path / "again" / "report.html").read_text()


def test_what_all_runs_have_alike_and_their_command_are_told(tmp_path: Path) -> None:
    run = write_evaluated_run(tmp_path / "study" / "only", evaluated=("val",))
    page = page_of(tmp_path / "study", [run])
    cited = {source: text for source, _, text in page.cited}
    config = yaml.safe_load(run.config_file.read_text())
    assert cited["only/config.yaml:/model/name"] == config["model"]["name"]
    assert float(cited["only/config.yaml:/optimizer/lr"]) == config["optimizer"]["lr"]
    assert "<pre><code>medimg train data=covid</code></pre>" in (tmp_path / "study" / "report.html").read_text()


def test_folds_are_called_folds_and_stand_in_their_order(tmp_path: Path) -> None:
    values = {(1, 0): 0.9, (0, 1): 0.8, (0, 0): 0.7}
    runs = []
    for (fold, seed), value in values.items():
        given = ["data.folds=3", f"data.fold={fold}", f"seed={seed}"]
        facts = {"test": {"f1_macro": value}, "command": f"medimg train {fold} {seed}", "data_fingerprint": str(fold)}
        runs.append(write_run(tmp_path / "study" / f"{fold}-{seed}", *given, value=value, **facts))
    page = page_of(tmp_path / "study", runs)
    order = [source.partition("/")[0] for source, _, _ in page.cited if source.endswith("config.yaml:/data/fold")]
    assert order == ["0-0", "0-1", "1-0"]
    text = " ".join(" ".join(page.free).split())
    assert "held-out folds" in text
    assert "test split" not in text
    assert "chosen among others" not in text
    assert "And others" not in text
    sweep = [
        write_run(tmp_path / "many" / str(n), f"seed={n}", value=0.5, command=f"medimg train {n}") for n in range(7)
    ]
    assert "And others: run.json" in " ".join(page_of(tmp_path / "many", sweep).free)


def test_a_missing_interval_has_its_reason(tmp_path: Path) -> None:
    counts = {"train": SOME, "val": {"normal": 20, "covid": 2}}  # one patient with covid
    run = write_evaluated_run(tmp_path / "study" / "only", counts=counts)
    page = page_of(tmp_path / "study", [run])
    flag = run.results()["evaluation"]["val"]["flags"]["f1_macro"]
    assert flag.startswith("no interval: ")
    assert ("only/results.json:/evaluation/val/flags/f1_macro", None, flag) in page.cited


def test_what_failed_is_named_with_its_reason_and_links_stay_inside(tmp_path: Path) -> None:
    home = tmp_path / "study"
    good = write_evaluated_run(home / "good run", counts=COUNTS)
    bad = write_run(home / "bad", "seed=3", value=None, status="failed")
    bad.error_file.write_text("out of <memory>\n\nTraceback ...\n")
    page_of(home, [good, bad])
    text = (home / "report.html").read_text()
    assert 'failed: <a href="./bad/">bad</a>: out of &lt;memory&gt;' in text
    assert 'href="./good%20run/"' in text
    assert "Traceback" not in text


def test_a_study_without_any_result(tmp_path: Path) -> None:
    bad = write_run(tmp_path / "bad", value=None, status="failed")
    page = page_of(tmp_path, [bad])
    assert "No run has a result." in " ".join(page.free)
    assert page.images == []


def test_the_report_of_a_run_is_no_place_for_a_leaderboard(tmp_path: Path) -> None:
    run = write_evaluated_run(tmp_path / "run")
    (run.path / "report.html").write_text("the run's own")
    write_leaderboard([run], run.path)
    assert (run.path / "report.html").read_text() == "the run's own"
