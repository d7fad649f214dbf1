"""What several benchmarks share; each module loads no more than its users need."""
