"""How a source becomes the raw snapshot."""
