"""Pretrained models as encoders: `hf:FOLDER_OR_NAME`. One module per family; see `families`."""
