"""Measures of color, one file each: a pure function giving one value an image, and its mean."""
