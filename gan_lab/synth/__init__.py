"""The mathematics: tables in, tables out.

Its rooms are `simulator` (seed tables from a profile), `importing` (a user's own table), `network`
(the TVAE's parts), `tabular` and `lives` (the two models), and `report` (how far rows can be
trusted). It knows no Dask, no Redis and no Jupyter.
"""
