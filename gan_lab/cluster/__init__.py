"""Where work runs: services, the tasks a worker executes, and how they are submitted."""
