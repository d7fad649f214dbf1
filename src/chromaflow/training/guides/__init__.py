"""Hints of a simulated user, and reference pictures, for a network in training."""
