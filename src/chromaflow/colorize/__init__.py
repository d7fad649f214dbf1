"""Photographs of any size, videos, and folders of them, colored by a trained model."""
