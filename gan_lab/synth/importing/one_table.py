"""All files of one import as one table: the same columns, in types that hold those of all files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from gan_lab.errors import BadParameter, BadTable
from gan_lab.synth.importing.columns import Column, read_column
from gan_lab.synth.importing.sources import Source

MIN_ROWS = 10


def read_columns(
    sources: Sequence[Source], long: Sequence[str] | None, life: str | None, life_per_file: bool
) -> dict[str, Column]:
    """Return what the columns of all files hold, by name.

    `long`: the tag, time and value columns of a historian's export, turned wide, by `life` too
    where there is one. `life_per_file`: a column of this name is made, a number a file. Raises
    `BadTable` where files do not go together or hold too few rows.
    """
    schema = _one_schema(sources)
    tables = [source.table.select(schema.names).cast(schema) for source in sources]
    if life_per_file:
        if life in schema.names:
            raise BadParameter(
                f"The files have a column {life!r}: use --life {life}, not --life-per-file."
            )
        tables = [
            table.add_column(0, life, pa.array(np.full(table.num_rows, number)))
            for number, table in enumerate(tables, 1)
        ]
    table = pa.concat_tables(tables)
    decimal = _one_decimal(sources)
    if long:
        table = _turn_wide(table, decimal, long, life)
    if table.num_rows < MIN_ROWS:
        raise BadTable(
            f"{sources[0].path} has {table.num_rows} rows: at least {MIN_ROWS} are needed to learn "
            "anything."
        )
    nullable = set().union(*(source.nullable for source in sources))
    return {
        name: read_column(name, table[name], decimal, name in nullable)
        for name in table.column_names
    }


def must_have(name: str, names: Collection[str]) -> None:
    """Raise `BadTable` where there is no such column, naming those that look alike."""
    if name in names:
        return
    folded = {known.casefold(): known for known in names}
    close = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {', '.join(repr(folded[item]) for item in close)}?"
    else:
        known = list(names)
        more = f" and {len(known) - 10} more" if len(known) > 10 else ""
        hint = f"There are {', '.join(map(repr, known[:10]))}{more}."
    raise BadTable(f"There is no column {name!r}. {hint}")


def _one_schema(sources: Sequence[Source]) -> pa.Schema:
    first, *others = sources
    names = first.table.column_names
    for other in others:
        if differing := set(names) ^ set(other.table.column_names):
            raise BadTable(
                f"{other.path} and {first.path} do not have the same columns: "
                f"{', '.join(map(repr, sorted(differing)[:5]))} only in one of them."
            )
    types = {name: {source.table.schema.field(name).type for source in sources} for name in names}
    return pa.schema([(name, _one_type(kinds)) for name, kinds in types.items()])


def _one_type(kinds: set[pa.DataType]) -> pa.DataType:
    if len(kinds) == 1:
        return kinds.pop()
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    return pa.float64() if numbers else pa.string()


def _one_decimal(sources: Sequence[Source]) -> str:
    paths = {source.decimal: source.path for source in sources if source.decimal}
    if len(paths) > 1:
        raise BadTable(
            f"{paths[',']} writes decimals with a comma, {paths['.']} with a point: "
            "export them alike."
        )
    return next(iter(paths), ".")


def _turn_wide(table: pa.Table, decimal: str, long: Sequence[str], life: str | None) -> pa.Table:
    """One row per moment, one column per tag; between its reports a tag keeps its value."""
    tag, time, value = long
    keys = [life, time] if life else [time]
    for name in (*keys, tag, value):
        must_have(name, table.column_names)
    tall = pa.table(
        {name: read_column(name, table[name], decimal).values for name in (*keys, tag, value)}
    ).to_pandas()
    wide = tall.pivot_table(index=keys, columns=tag, values=value, aggfunc="last")
    held = wide.groupby(level=life).ffill() if life else wide.ffill()
    return pa.Table.from_pandas(held.dropna().reset_index(), preserve_index=False)
