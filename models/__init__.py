"""The network: its weights, and the code that builds, runs and stores it."""
