"""Training: data, losses, the Lightning module and its callbacks, and the step itself."""
