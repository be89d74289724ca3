"""Prefect tasks, one stage a module: each reads stores, calls `rosetta`, and writes stores."""
