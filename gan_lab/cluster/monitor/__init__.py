"""What the scheduler shows of the tasks: a page, and metrics for Prometheus."""

from gan_lab.cluster.monitor.page import dask_setup

__all__ = ["dask_setup"]
