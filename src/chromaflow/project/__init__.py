"""The checkout: its paths, files, locks and DVC."""
