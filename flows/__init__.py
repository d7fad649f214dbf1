"""Prefect flows: when, where, how often, who approves. No logic of machine learning lives here."""
