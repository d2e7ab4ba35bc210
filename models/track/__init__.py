"""Following faces through a video and smoothing their points."""
