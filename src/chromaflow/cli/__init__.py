"""The command line: one module per group of commands; each only parses, calls and prints."""
