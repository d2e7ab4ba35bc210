"""Training: the steps, the losses, the optimizer and its schedule, progress, workers."""
