"""Work on a Dask cluster: what is asked for, queued, executed, and taken hold of again.

It hands out the functions that start tasks (`submit`), the tasks that workers execute (`tasks`) and
the machines there are (`catalogue`). It imports `synth`, `wire` and `workspace`, never `notebook`,
`server` or `cli`.
"""
