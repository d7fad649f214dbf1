"""Which images may train, which one judges, and why the others may not."""
