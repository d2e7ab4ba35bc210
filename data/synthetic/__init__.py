"""Synthetic faces and videos, drawn in 3-D."""
