"""Versions of the model in MLflow's registry."""
