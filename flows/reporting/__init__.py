"""How a run reports itself: the embedded Prefect server, links and summaries on Prefect's page."""
