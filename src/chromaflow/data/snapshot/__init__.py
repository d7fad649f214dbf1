"""The raw snapshot: its manifest, its shards, and how both are read."""
