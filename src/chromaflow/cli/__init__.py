"""The command line: one module a group of commands; each parses, calls and prints, no more."""
