"""Shards of 8-bit Lab: written, read, mirrored."""
