"""Where a model comes from: facts of code, machine and data, and the ledger of decisions."""
