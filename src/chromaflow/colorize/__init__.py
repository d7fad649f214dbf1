"""Photographs of any size, and folders of them, colored by a trained model."""

from chromaflow.colorize.batch import Summary, colorize_many
from chromaflow.colorize.image import PredictsColor, colorize_array
from chromaflow.colorize.photo import colorize_photo

__all__ = ["PredictsColor", "Summary", "colorize_array", "colorize_many", "colorize_photo"]
