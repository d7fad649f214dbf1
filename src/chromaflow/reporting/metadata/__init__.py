"""Descriptions that other programs read: Croissant, OpenLineage."""
