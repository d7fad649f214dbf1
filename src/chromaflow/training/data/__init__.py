"""What training reads: crops, their order, augmentation, batches."""
