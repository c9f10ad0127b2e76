"""Which columns of a user's table are kept, and whether they can play their parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import Roles
from gan_lab.synth.importing.columns import Column, likely_format

MAX_TEXTS = 500
PERSON = re.compile(
    r"operator|employee|user|person|e-?_?mail|phone|worker|mitarbeiter|bediener|technician|"
    r"surname|vorname|nachname|customer|kunde|inspector|pruefer|prüfer|fahrer", re.IGNORECASE,
)  # fmt: skip
SERIAL = re.compile(
    r"(^|[\W_])(serial|serien\w*|s/?n|imei|uuid|guid|udi|id)([\W_]|$)", re.IGNORECASE
)
KINDS = {
    "life": ("whole", "number", "text"),
    "time": ("whole", "number", "date"),
    "rul": ("whole", "number"),
    "state": ("whole", "text", "bool"),
}
"""What the column of a part may hold."""
PARTS = {
    "life": r"(unit|life|engine|asset|machine|experiment|run)([\W_]?(id|no|nr|number))?",
    "time": r"time|date|timestamp|datetime|cycles?|hours?|zeit|t",
    "rul": r"rul|ttf|remaining.*life|time[\W_]to[\W_]failure",
    "state": r"(operating[\W_]?)?(state|status|mode|phase|regime|zustand|betriebsart)",
}
"""What the column of a part is often called, before its unit."""


def must_have(name: str, names: Collection[str], where: str = "") -> None:
    """Raise `BadTable` where there is no such column, naming those that look alike."""
    if name in names:
        return
    folded = {known.casefold(): known for known in names}
    close = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    alike = ", ".join(repr(folded[item]) for item in close)
    known = ", ".join(map(repr, list(names)[:10])) + (", ..." if len(names) > 10 else "")
    hint = f"Did you mean {alike}?" if close else f"There are {known}."
    raise BadTable(f"There is no column {name!r}{where and f' in {where}'}. {hint}")


def propose_parts(facts: dict[str, Column], roles: Roles) -> list[str]:
    """Say which columns are called like a part that nobody has named."""
    options = []
    for part, called in PARTS.items():
        if getattr(roles, part) is None:
            alike = (
                name
                for name, column in facts.items()
                if re.fullmatch(rf"({called})([\W_]+(utc|iso|s|min|h|d)?\W*)?", name, re.IGNORECASE)
                and column.kind in KINDS[part]
                and name not in roles.columns
            )
            options += [f"--{part} {name!r}" for name in list(alike)[:1]]
    if not options:
        return []
    lost = "" if roles.life else " Without a life the rows have no order."
    return [f"By their names these columns play a part: {', '.join(options)}.{lost}"]


def choose_columns(
    facts: dict[str, Column],
    parts: Sequence[str],
    columns: Sequence[str] | None,
    leave_out: Sequence[str],
) -> dict[str, str]:
    """Return the columns that are left out, each with the reason; named columns stay."""
    for name in [*parts, *(columns or ()), *leave_out]:
        must_have(name, facts)
    if len(set(parts)) < len(parts):
        raise BadParameter(f"One column cannot play two parts: {', '.join(parts)}.")
    named = {*parts, *(columns or ())}
    left_out = {name: "as asked" for name in leave_out if name not in parts}
    for name, column in facts.items():
        if columns is not None and name not in named:
            left_out.setdefault(name, "not among the columns asked for")
        elif name not in named and (reason := _reason_to_leave(column)):
            keep = "" if column.kind == "unusable" else "; name it in --columns to keep it"
            left_out.setdefault(name, reason + keep)
    return left_out


def _reason_to_leave(column: Column) -> str:
    name, kind = column.name, column.kind
    if kind == "missing" and re.fullmatch(r"column_\d+|Unnamed: \d+", name):
        return "it has neither a heading nor a value"
    if kind == "unusable":
        return f"it holds {column.example[1]}, which no model here learns"
    if kind in ("text", "whole") and PERSON.search(name):
        return "it seems to identify a person"
    if kind in ("text", "whole") and SERIAL.search(name):
        return "it seems to be an identifier"
    if kind == "whole" and column.counts_rows:
        return "it only counts the rows (a time or a life is named by --time, --life)"
    if kind == "text" and column.distinct > min(MAX_TEXTS, 0.9 * column.present):
        row, text = column.example
        return f"it has too many different texts ({text!r} in row {row})"
    if kind == "date":
        return "it is a date (--time makes it the time)"
    return ""


def check_columns(kept: dict[str, Column], roles: Roles, source: str) -> None:
    """Raise `BadTable` where a column has no value, is infinite, or cannot play its part."""
    if unusable := [column for column in kept.values() if column.kind == "unusable"]:
        types = ", ".join(f"{column.name!r} ({column.example[1]})" for column in unusable)
        raise BadTable(
            f"{types} of {source} cannot be modelled: numbers, text, booleans and dates can. "
            "Leave it out with --leave-out, or convert it in the file."
        )
    if roles.rul and kept[roles.rul].kind == "missing":
        raise BadTable(
            f"{roles.rul!r} cannot be the rul: no row has one. Fill it, or name with --failure the "
            "column that says which lives failed."
        )
    empty = [name for name, column in kept.items() if column.kind == "missing"]
    infinite = [name for name, column in kept.items() if column.infinite]
    for names, fault in ((empty, "has no value in any row"), (infinite, "holds infinite values")):
        if names:
            more = f", and so do {', '.join(map(repr, names[1:]))}" if len(names) > 1 else ""
            raise BadTable(
                f"The column {names[0]!r} of {source} {fault}{more}. Correct the file, or leave "
                "out what is wrong with --leave-out."
            )
    for part, kinds in KINDS.items():
        if name := getattr(roles, part):
            _check_part(
                kept[name],
                part,
                kinds,
                gaps=part == "state" or (part == "rul" and roles.life is not None),
            )
    learned = [c for name, c in kept.items() if name not in (roles.life, roles.time, roles.rul)]
    if learned and all(column.constant and not column.missing for column in learned):
        raise BadTable(
            f"Every column of {source} is constant beside life, time and rul: there is nothing "
            "to learn. Import columns that change."
        )
    if set(kept) <= set(roles.columns):
        raise BadTable(f"{source} has no column left to learn from beside {', '.join(kept)}.")


def _check_part(column: Column, part: str, kinds: tuple[str, ...], gaps: bool) -> None:
    row, text = column.example
    example = f" ({text!r} in row {row})" if row else ""
    what = f"{column.name!r} cannot be the {part}"
    if column.kind not in kinds:
        how = (
            f" Say with --time-format how it is written, such as {likely_format(text)}."
            if part == "time" and column.kind == "text"
            else ""
        )
        raise BadTable(f"{what}: it is a {column.kind} column{example}.{how}")
    if column.missing and not gaps:
        raise BadTable(f"{what}: {column.missing} rows lack it{example}.")
