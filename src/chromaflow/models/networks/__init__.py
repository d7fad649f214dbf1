"""The published colorization networks, one module a network."""
