"""Where work runs: threads of this process or a Dask cluster, and the graphs that are sent there."""
