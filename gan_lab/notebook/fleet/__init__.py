"""Fleets: one notebook executed by papermill for many machines, over night.

It hands out `run_fleet`, `resume_fleet` and `fleet`; `fleet` reads what the folder says,
`process` does the work in a process of its own. It stands on `cluster`, and views are lent by its
neighbours in `notebook`.
"""
