"""The model of rows without order: the latent code of a TVAE, and trees that draw columns from it.

It hands out `TabularTVAE` with `fit`, `sample`, `save`, `load` and `export_sdv`. It stands on
`network`, and never imports `lives` or `report`. ranks (a table as whole numbers), trees (one tree
as arrays), sequence (all of them, and how rows are drawn), decoder (codes before them), conditions.
"""
