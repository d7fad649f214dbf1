"""Ways to write color as a target to learn, and to read it back; one module a codebook."""
