"""Training batches from datasets: exact, elastic, mixed. What users need is named in `shards`."""
