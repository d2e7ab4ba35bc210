"""Training labels: checks, the files of a training, and Kaggle's own file."""
