"""ingest/decoders: see the files."""
