"""Pretrained image classifiers that networks build on."""
