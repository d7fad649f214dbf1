"""Refinement of predicted color by the lightness, by name."""

REFINEMENTS = ("none",)
