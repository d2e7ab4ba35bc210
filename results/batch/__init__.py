"""Runs over many photos: rows that are appended, resuming, several processes and machines."""
