"""What the scheduler shows of the tasks: a page."""

from gan_lab.cluster.monitor.page import dask_setup

__all__ = ["dask_setup"]
