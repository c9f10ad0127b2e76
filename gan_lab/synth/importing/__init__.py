"""A user's own table, understood: which columns are life, time, wear, category and sensor.

It hands out `importer.import_table`, which leaves a profile and a seed table, or says what is wrong
in one sentence: `sources` reads files, `columns` finds out what a column holds, `column_choice`
what is kept, `lives` orders the rows, `summary` says what was understood. It imports `workspace`,
and no other room of `synth`.
"""
