"""MLflow: runs and what they were made from, versions, promotion and its ledger, the report."""
