"""Files, locks, the command line and progress bars."""
