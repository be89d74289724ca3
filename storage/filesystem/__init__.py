"""Files at any fsspec URL: a root, its lock, durable writes, and what object stores need."""
