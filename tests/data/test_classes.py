import logging
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from medimg.data.classes import class_key, resolve_classes
from medimg.data.manifest import Manifest, Record, Split
from medimg.data.problems import gathered
from medimg.errors import RequestError

CT = ("ILD", "Lung_Cancer", "Normal", "pneumonia", "pneumothorax")
COVID = ("normal", "covid")


def manifest_of(*labels: str | tuple[Split, str]) -> Manifest:
    pairs = [(None, label) if isinstance(label, str) else label for label in labels]
    return Manifest(Path(), tuple(Record(f"{i}.png", label, split) for i, (split, label) in enumerate(pairs)))


def labels_of(manifest: Manifest) -> list[str]:
    return [record.label for record in manifest.records]


@pytest.mark.parametrize("covid", ["covid", "COVID", "Covid-19", "covid_19", "COVID 19", "COVID-2019", "SARS-CoV-2"])
@pytest.mark.parametrize("normal", ["normal", "NORMAL", " Normal"])
def test_common_spellings_of_covid(covid: str, normal: str) -> None:
    result = resolve_classes(manifest_of(covid, normal), COVID, None, "covid")
    assert labels_of(result) == ["covid", "normal"]
    assert result.classes == COVID
    assert result.positive_class == "covid"


def test_common_spellings_of_ct() -> None:
    found = (
        "Lung cancer",
        "interstitial lung disease",
        "NORMAL",
        "Pneumonia",
        "pneumo-thorax",
        "LUNG_Cancer",
        "LungCancer",
    )
    result = resolve_classes(manifest_of(*found), CT, None, None)
    assert labels_of(result) == [CT[1], CT[0], CT[2], CT[3], CT[4], CT[1], CT[1]]
    assert result.positive_class is None


def test_digits_keep_their_dash_and_accents_their_form() -> None:
    assert class_key("stage 1-2") != class_key("stage 12")
    assert class_key("stage 1_2") == class_key("Stage-1-2")
    assert class_key("le\u0301ger") == class_key("l\u00e9ger")


def test_names_that_could_mean_more_are_not_guessed() -> None:
    with pytest.raises(RequestError, match=r"'healthy' is none of.*normal, covid.*class_aliases=\{healthy:normal\}"):
        resolve_classes(manifest_of("covid", "healthy"), COVID, None, None)


def test_unknown_class_names_the_nearest_and_the_cure() -> None:
    with pytest.raises(RequestError) as caught:
        resolve_classes(manifest_of(*CT, "pneumonias"), CT, None, None)
    message = str(caught.value)
    assert "'pneumonias'" in message
    assert "Did you mean 'pneumonia'?" in message
    assert "data.class_aliases={pneumonias:pneumonia}" in message
    assert all(name in message for name in CT)


@pytest.mark.parametrize("folder", ["covids", "Covid (new)", "covid:2=b,"])
def test_the_cure_is_an_override_that_hydra_reads(folder: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_classes(manifest_of("covid", "normal", folder), COVID, None, None)
    (shown,) = re.findall(r"give ('?data\.class_aliases=.*\}'?)\. If it", str(caught.value))
    (override,) = OverridesParser.create().parse_overrides(shlex.split(shown))
    assert override.value() == {folder: "covid"}


def test_several_unknown_classes_have_one_proposal() -> None:
    with gathered() as problems:
        resolve_classes(manifest_of("benign", "malignant", "normal"), COVID, None, "covid")
    assert [problem.kind for problem in problems] == ["class_mismatch", "missing_class"]
    said = " ".join(problem.cure for problem in problems)
    assert said.count("data.classes=") == 1
    assert "data.classes=[benign,malignant,normal]" in said
    assert "data=image_folder" in said


def test_expected_class_without_images() -> None:
    with pytest.raises(RequestError, match=r"'ILD', 'pneumonia'.*data.classes=\[Lung_Cancer,Normal,pneumothorax\]"):
        resolve_classes(manifest_of("Lung cancer", "normal", "pneumothorax"), CT, None, None)


def test_expected_classes_must_differ() -> None:
    with pytest.raises(RequestError, match="twice"):
        resolve_classes(manifest_of("covid"), ("covid", "COVID-19"), None, None)
    with pytest.raises(RequestError, match="one class only"):
        resolve_classes(manifest_of("covid"), ("covid",), None, None)


def test_aliases_come_first_and_at_once() -> None:
    aliases = {"adenocarcinoma_T2": "adenocarcinoma", "A": "B", "B": "A"}
    found = manifest_of("adenocarcinoma", "adenocarcinoma_T2", "A", "B")
    assert labels_of(resolve_classes(found, None, aliases, None)) == ["adenocarcinoma", "adenocarcinoma", "B", "A"]


def test_aliases_match_exactly_before_folded() -> None:
    found = manifest_of("Sick", "sick", "well")
    assert labels_of(resolve_classes(found, None, {"Sick": "ill", "sick": "worse"}, None)) == ["ill", "worse", "well"]
    assert labels_of(resolve_classes(manifest_of("SICK", "well"), None, {"sick": "ill"}, None)) == ["ill", "well"]


def test_alias_for_nothing() -> None:
    with pytest.raises(RequestError, match=r"'healty'.*no such folder.*Did you mean 'healthy'"):
        resolve_classes(manifest_of("healthy", "covid"), COVID, {"healty": "normal"}, None)
    with pytest.raises(RequestError, match="no class"):
        resolve_classes(manifest_of("healthy", "covid"), COVID, {"healthy": " "}, None)


def test_alias_to_what_is_no_class() -> None:
    with pytest.raises(RequestError, match="'norml' is none of the expected"):
        resolve_classes(manifest_of("healthy", "covid"), COVID, {"healthy": "norml"}, None)


def test_classes_of_the_data_are_sorted_and_spelled_as_in_train() -> None:
    found = manifest_of(("train", "b"), ("train", "Covid"), ("test", "COVID-19"), ("val", "B"))
    result = resolve_classes(found, None, None, None)
    assert result.classes == ("Covid", "b")
    assert labels_of(result) == ["b", "Covid", "Covid", "b"]
    assert result.positive_class == "b"


def test_class_outside_train_only() -> None:
    found = manifest_of(("train", "squamous"), ("train", "normal"), ("test", "squamous_T1"))
    with pytest.raises(RequestError, match=r"'squamous_T1' has images in test.*\{squamous_T1:squamous\}"):
        resolve_classes(found, None, None, None)


def test_classes_that_read_alike() -> None:
    with pytest.raises(RequestError, match=r"'Covid' \(images: 1\), 'covid-19' \(images: 1\).*\{covid-19:Covid\}"):
        resolve_classes(manifest_of("Covid", "covid-19", "normal"), None, None, None)
    with pytest.raises(RequestError, match="one class only"):
        resolve_classes(manifest_of("a", "a"), None, None, None)


def test_positive_class() -> None:
    two = manifest_of("Covid", "normal")
    assert resolve_classes(two, None, None, None).positive_class == "normal"
    assert resolve_classes(two, None, None, "COVID-19").positive_class == "Covid"
    with pytest.raises(RequestError, match=r"positive_class=norml.*Did you mean 'normal'"):
        resolve_classes(two, None, None, "norml")
    with pytest.raises(RequestError, match="for two classes, and there are 3"):
        resolve_classes(manifest_of("a", "b", "c"), None, None, "a")


def test_of_several_spellings_the_most_frequent_is_kept_and_the_others_are_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = manifest_of("COVID", *["covid"] * 5, "Covid 19", "Covid 19", "it's", "it's")
    with caplog.at_level(logging.INFO), gathered() as problems:
        result = resolve_classes(found, None, None, None)
    (problem,) = problems
    assert "'covid' (images: 5), 'Covid 19' (images: 2), 'COVID' (images: 1)" in problem.message
    listed = {record.path for record in found.records if record.label in {"COVID", "Covid 19"}}
    assert set(problem.files) == listed
    assert len(problem.files) == 3
    assert result.classes == ("covid", "it's")
    assert not caplog.records  # nothing says that they are one class already
    (shown,) = re.findall(r"give ('.*'); if not", problem.cure)
    (override,) = OverridesParser.create().parse_overrides(shlex.split(shown))
    assert override.value() == {"Covid 19": "covid", "COVID": "covid"}
    assert resolve_classes(found, None, override.value(), None).classes == ("covid", "it's")


@pytest.mark.parametrize("folder", ["it's new", 'a "b"', "x y", "[c]", "a,b"])
def test_suggestions_are_quoted_for_the_shell(folder: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_classes(manifest_of("covid", "normal", folder), COVID, None, None)
    given = {}
    for shown in re.findall(r"(?:give|classes:) ('data.*?)(?:\. If it|$)", str(caught.value)):
        (override,) = OverridesParser.create().parse_overrides(shlex.split(shown))
        given[override.key_or_group] = override.value()
    aliases = {} if {"'", '"'} & set(folder) else {"data.class_aliases": {folder: "CLASS"}}
    assert given == aliases | {"data.classes": ["normal", "covid", folder]}
    assert bool(aliases) != ("a name without quotes" in str(caught.value))
