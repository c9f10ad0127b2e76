"""Tables in, tables out: the mathematics, which knows no Dask, no Redis and no Jupyter."""
