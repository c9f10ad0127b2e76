"""The model of rows without order: SDV's TVAE with a fast epoch loop.

It hands out `TabularTVAE` with `fit`, `sample`, `save`, `load` and `export_sdv`. It stands on
`network`, and never imports `lives` or `report`.
"""
