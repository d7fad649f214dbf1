"""Whether a candidate takes the champion's place, and on which evidence."""
