"""Whether an image may train: expectations, duplicates, splits, quarantine."""
