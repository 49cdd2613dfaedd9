"""Who may be asked about which images: nobody about those that it was trained on."""

import pytest
from ensemble_runs import member

from medimg.errors import RequestError
from medimg.inference.held_out import held_out, kind_of, manifest_of, share_validation
from medimg.inference.members import MemberRun


def fold(number: int, of: int = 3, name: str = "", **splits: str) -> MemberRun:
    return member(name or f"fold{number}", config={"data.folds": of, "data.fold": number, "seed": 7}, **splits)


FOLDS = [fold(0, train="cdf", val="e", test="ab"), fold(1, train="aef", val="b", test="cd")]
LAST = fold(2, train="abc", val="d", test="ef")


def test_members_that_share_a_split_are_averaged_on_it() -> None:
    members = (member("a", train="ab", val="c", test="de"), member("b", train="ac", val="b", test="de"))
    assert kind_of(members) == "mean"
    found = held_out(members, "test")
    assert found.groups == (members,)
    assert [record.path for record in manifest_of(members, [found]).records] == ["d.png", "e.png"]
    assert not share_validation(members)
    assert share_validation((members[0], members[0]))
    with pytest.raises(RequestError, match=r"a was trained on 1 of the 1 val images of /runs/b \('b.png'\)"):
        held_out(members, "val")


def test_no_validation_is_none_in_common() -> None:
    assert not share_validation((member("a", train="a", test="b"), member("b", train="a", test="b")))


def test_folds_are_pooled() -> None:
    members = (FOLDS[0], FOLDS[1], LAST)
    assert kind_of(members) == "out_of_fold"
    found = held_out(members, "test")
    assert found.groups == ((FOLDS[0],), (FOLDS[1],), (LAST,))
    assert not found.missing
    manifest = manifest_of(members, [found])
    assert "".join(record.path[0] for record in manifest.of("test")) == "abcdef"
    with pytest.raises(RequestError, match="a score on these is none"):
        held_out(members, "val")


def test_a_missing_fold_is_named_and_its_images_count_as_not_looked_at() -> None:
    found = held_out(tuple(FOLDS), "test")
    assert found.missing_folds == (2,)
    assert found.missing == {"e.png", "f.png"}
    assert len(manifest_of(tuple(FOLDS), [found]).of("test")) == 6


def test_an_image_that_nobody_holds_out_is_an_error_where_no_fold_is_missing() -> None:
    two = (fold(0, of=2, train="cde", test="ab"), fold(1, of=2, train="abe", test="cd"))
    with pytest.raises(RequestError, match=r"1 images are held out by no member \('e.png'\)"):
        held_out(two, "test")


def test_each_fold_needs_as_many_members() -> None:
    more = (*FOLDS, fold(0, name="again", train="cdf", val="e", test="ab"))
    with pytest.raises(RequestError, match=r"(?s)fold 0: 2 \(seed 7, seed 7\).*fold 1: 1 \(seed 7\)"):
        held_out(more, "test")


def test_a_member_that_was_trained_on_the_scored_images_is_refused() -> None:
    members = (member("a", train="abc", test="de"), member("b", train="abd", test="ce"))
    with pytest.raises(RequestError, match=r"/runs/a was trained on 1 of the 2 test images of /runs/b \('c.png'\)"):
        held_out(members, "test")


def test_overlapping_splits_are_refused_though_nobody_was_trained_on_them() -> None:
    members = (member("a", train="ab", test="cde"), member("b", train="ab", val="e", test="cd"))
    with pytest.raises(RequestError, match="have not the same test images"):
        held_out(members, "test")


def test_other_images_and_missing_splits_are_refused() -> None:
    with pytest.raises(RequestError, match="other images than"):
        held_out((member("a", train="a", test="b"), member("b", images="j", train="a", test="b")), "test")
    with pytest.raises(RequestError, match="has no test split"):
        held_out((member("a", train="a", val="b"), member("b", train="a", val="b")), "test")
    with pytest.raises(RequestError, match="/runs/b has no test split"):
        held_out((member("a", train="a", test="b"), member("b", train="ab")), "test")


def test_other_images_have_no_kind_but_the_mean() -> None:
    assert kind_of((member("a", train="a", test="b"), member("b", images="j", train="c", test="d"))) == "mean"
