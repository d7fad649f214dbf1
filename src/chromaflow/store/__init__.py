"""Lab shards: stored photographs, written once and read in place."""
