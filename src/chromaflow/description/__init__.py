"""What a snapshot is, told for people and for machines: a data card, Croissant, lineage events."""
