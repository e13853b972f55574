"""ingest/sources: see the files."""
