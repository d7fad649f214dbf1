"""What happens around the steps of a training: curves, checkpoints, progress, pictures."""
