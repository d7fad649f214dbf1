"""What every reader of strangers' images shares."""
