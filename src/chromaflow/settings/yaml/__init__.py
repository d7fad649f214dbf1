"""Settings as YAML: files are read, old ones brought up to date, overridden, explained, written."""
