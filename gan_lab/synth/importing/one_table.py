"""All files of one import as one table: its columns, its rows in order, what was noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gan_lab.errors import BadParameter, BadTable
from gan_lab.synth.importing.column_survey import Column, convert, survey
from gan_lab.synth.importing.sources import Source, open_source

LEAST_ROWS = 10
NULLABLE = re.compile(r"U?Int\d+|Float\d+|boolean")  # types of pandas
TALL_ROWS = 2_000_000  # of a historian's export, which are turned wide at once


class FileTable:
    """One table of one or more files with the same columns, read as often as it is asked for.

    `long`: the tag, time and value columns of a historian's export, turned wide by `life` too where
    there is one; the wide table is held in memory, 8 bytes a value. `life_per_file`: the column
    `life` is made, a number a file.
    """

    def __init__(
        self,
        paths: list[Path],
        long: Sequence[str] | None = None,
        life: str | None = None,
        life_per_file: bool = False,
    ) -> None:
        if not paths:
            raise BadParameter("Name at least one file to import.")
        self.paths = paths
        self._sources = [open_source(path) for path in paths]
        self._decimal = self._one_decimal()
        self.schema = self._one_schema()
        self._numbered = life if life_per_file else None
        if self._numbered:
            if self._numbered in self.schema.names:
                raise BadParameter(
                    f"The files have a column {life!r}: use --life {life}, not --life-per-file."
                )
            self.schema = self.schema.insert(0, pa.field(self._numbered, pa.int64()))
        self._wide: pa.Table | None = None
        if long:
            self._wide = self._turn_wide(long, life)
            self.schema = self._wide.schema
        self.facts = survey(self.chunks(), self.schema, self._decimal)
        for source in self._sources:
            for column in (source.schema.pandas_metadata or {}).get("columns", ()):
                if NULLABLE.fullmatch(str(column["numpy_type"])) and column["name"] in self.facts:
                    self.facts[column["name"]].nullable = True
        rows = next(iter(self.facts.values())).rows
        if rows < LEAST_ROWS:
            raise BadTable(
                f"{paths[0]} has {rows} rows: at least {LEAST_ROWS} are needed to learn anything."
            )

    @property
    def notes(self) -> list[str]:
        """What was noticed while reading."""
        return [note for source in self._sources for note in source.notes]

    def chunks(self) -> Iterator[pa.Table]:
        """Yield the rows of all files in order."""
        if self._wide is not None:
            yield self._wide
            return
        for number, source in enumerate(self._sources, 1):
            for chunk in source.chunks():
                if self._numbered:
                    column = pa.array(np.full(chunk.num_rows, number))
                    chunk = chunk.add_column(0, self._numbered, column)
                yield chunk.select(self.schema.names).cast(self.schema)

    def _one_decimal(self) -> str:
        found: dict[str, Source] = {}
        for source in self._sources:
            found.setdefault(source.decimal, source)
        found.pop("", None)
        if len(found) > 1:
            raise BadTable(
                f"{found[','].path} writes decimals with a comma, {found['.'].path} with a point: "
                "export them alike."
            )
        return next(iter(found), ".")

    def _one_schema(self) -> pa.Schema:
        """The columns of the first file, in types that hold those of all files."""
        first = self._sources[0]
        for source in self._sources[1:]:
            differing = set(first.schema.names) ^ set(source.schema.names)
            if differing:
                raise BadTable(
                    f"{source.path} and {first.path} do not have the same columns: "
                    f"{', '.join(map(repr, sorted(differing)[:5]))} only in one of them."
                )
        return pa.schema([(name, self._one_type(name)) for name in first.schema.names])

    def _one_type(self, name: str) -> pa.DataType:
        types = {source.schema.field(name).type for source in self._sources}
        if len(types) == 1:
            return types.pop()
        numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types)
        return pa.float64() if numbers else pa.string()

    def _turn_wide(self, long: Sequence[str], life: str | None) -> pa.Table:
        """One row per moment, one column per tag; between its reports a tag keeps its value."""
        tag, time, value = long
        keys = [life, time] if life else [time]
        names = [*keys, tag, value]
        facts = survey(self.chunks(), self.schema, self._decimal)
        for name in names:
            must_have(name, facts)
        pivoted = (
            tall.pivot_table(index=keys, columns=tag, values=value, aggfunc="last")
            for tall in self._tall(names, facts)
        )
        wide = reduce(lambda before, new: new.combine_first(before), pivoted)
        held = wide.groupby(level=life).ffill() if life else wide.ffill()
        return pa.Table.from_pandas(held.dropna().reset_index(), preserve_index=False)

    def _tall(self, names: list[str], facts: dict[str, Column]) -> Iterator[pd.DataFrame]:
        """Yield these columns of all rows, so many at once as can be turned in little memory."""
        parts: list[pa.Table] = []
        for chunk in self.chunks():
            parts.append(pa.table({name: convert(chunk[name], facts[name]) for name in names}))
            if sum(map(len, parts)) >= TALL_ROWS:
                yield pa.concat_tables(parts).to_pandas()
                parts = []
        if parts:
            yield pa.concat_tables(parts).to_pandas()


def must_have(name: str, facts: dict[str, Column]) -> None:
    """Raise `BadTable` where there is no such column, naming those that look alike."""
    if name in facts:
        return
    folded = {known.casefold(): known for known in facts}
    close = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {', '.join(repr(folded[item]) for item in close)}?"
    else:
        known = list(facts)
        more = f" and {len(known) - 10} more" if len(known) > 10 else ""
        hint = f"There are {', '.join(map(repr, known[:10]))}{more}."
    raise BadTable(f"There is no column {name!r}. {hint}")
