"""The face detector: search, finder and checker, and their settings."""
