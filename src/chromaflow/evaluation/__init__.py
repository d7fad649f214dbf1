"""Judging a model on the held-out images, beside the baselines and the champion."""
