"""The model of whole lives: a degradation curve, what differs between lives, and what is left.

It hands out `SequentialTVAE` with `fit`, `sample`, `save` and `load`. It stands on `network`, and
never imports `tabular` or `report`.
"""
