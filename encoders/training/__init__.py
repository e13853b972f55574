"""Training of our own tokenizers: networks' losses and loops, on arrays. No files of media."""
