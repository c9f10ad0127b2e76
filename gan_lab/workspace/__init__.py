"""What is on disk, and only here: profiles, tables, run folders, fleet folders, leases, records.

It hands out folders as objects (`RunFolder`, `FleetFolder`) and tables as DataFrames, and writes
beside before it moves into place. It imports the words of the house (`schema`, `settings`,
`errors`) and nothing else of the package: no Redis, no Dask, no torch, no Jupyter.
"""
