"""Trials of recipes beside the main job: sanity, learning rate, sweeps, comparisons."""
