"""The face detector: search, finder and checker."""
