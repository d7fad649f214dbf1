"""Where images come from, and the raw snapshot that they are put into."""
