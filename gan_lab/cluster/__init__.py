"""Work on a Dask cluster: what is asked for, queued, executed, and taken hold of again."""
