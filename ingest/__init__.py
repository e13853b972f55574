"""ingest: see the files."""
