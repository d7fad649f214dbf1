"""From a source of photographs to Lab shards."""
