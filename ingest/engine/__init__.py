"""ingest/engine: see the files."""
