"""Datasets that are elsewhere: http(s), S3, GCS, hubs, through fsspec and a bounded local cache."""
