"""What the scheduler shows of the tasks: a page, and metrics for Prometheus.

It hands out `dask_setup`: `dask scheduler --preload gan_lab.cluster.monitor` serves both beside the
dashboard. It only reads run folders, and imports nothing that starts, stops or changes a task.
"""

from gan_lab.cluster.monitor.page import dask_setup

__all__ = ["dask_setup"]
