"""Files, locks, the command line, signals and progress bars."""
