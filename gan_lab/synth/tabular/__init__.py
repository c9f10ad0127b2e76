"""The model of rows without order: trees that draw column after column, or a TVAE.

It hands out `TabularTVAE` with `fit`, `sample`, `save`, `load` and `export_sdv`. It stands on
`network`, and never imports `lives` or `report`. ranks (a table as whole numbers), trees (one tree
as arrays), sequence (one of each column), tree_model (a sequence for each class), conditions.
"""
