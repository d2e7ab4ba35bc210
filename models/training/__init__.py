"""Training: loss, optimizer and its schedule, progress, workers."""
