"""An ensemble for the terminal: its members, its scores, and what averaging has gained."""

import math
from typing import TYPE_CHECKING

from medimg.reporting.scores import WHOLE, comparison_lines, score_lines
from medimg.reporting.tables import terminal_table

if TYPE_CHECKING:
    from medimg.inference.ensemble import Scored
    from medimg.inference.gains import Gains
    from medimg.inference.members import MemberRun


def ensemble_lines(scored: "Scored", found: "Gains") -> str:
    """All that is printed of a scored ensemble."""
    parts = [member_table(scored, found), _asked(scored), score_lines(scored.results, scored.split)]
    if scored.split == "val":
        parts.append("Validation chose the epochs of the members: these scores are too good.")
    return "\n".join([*parts, *_gained(scored, found)])


def member_table(scored: "Scored", found: "Gains") -> str:
    """A row for each member: what it is, its validation score, and its own macro-F1 on what it was asked about."""
    header = ["seed", "fold", "validation", f"{scored.split} macro-F1", "member"]
    return terminal_table(header, [_row(member, found) for member in scored.members]) + "\n"


def _row(member: "MemberRun", found: "Gains") -> list[str]:
    value = "-" if member.value is None else f"{member.run.metric} {member.value:.4f}"
    fold = "" if member.fold is None else str(member.fold)
    own = found.scores[member.folder.path]["f1_macro"]
    return [str(member.run.config.get("seed")), fold, value, _number(own), member.folder.shown]


def _asked(scored: "Scored") -> str:
    """Who was asked about an image."""
    rows = sum(len(table.paths) for table in scored.tables.values())
    images = len(scored.sample.predictions.paths)
    each = rows // max(1, images)
    if each == len(scored.members):
        return f"The mean of {each} models.\n"
    missing = ", ".join(map(str, scored.missing_folds))
    without = f" No member holds out fold {missing}: its images are not scored." if missing else ""
    several = "the mean of the models" if each > 1 else "the model"
    return f"Out of fold: of each image {several} that held it out ({each} of {len(scored.members)}).{without}\n"


def _gained(scored: "Scored", found: "Gains") -> list[str]:
    """The differences from the members, where all were asked about the same images."""
    if not found.mean:
        return []
    ensemble = scored.results[scored.split]
    gained = [
        f"{WHOLE[name]} {_number(value)} (the ensemble {ensemble[name] - value:+.3f})"
        for name, value in found.mean.items()
    ]
    lines = [f"\nThe mean of the members' scores: {', '.join(gained)}."]
    if found.best is not None and found.comparisons:
        named = f"Against the best member by validation, {found.best.folder.shown}:"
        lines += [named, comparison_lines(found.comparisons, ("the ensemble", "the member"))]
    return lines


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
