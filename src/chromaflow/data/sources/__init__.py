"""Where photographs come from: one module a source."""
