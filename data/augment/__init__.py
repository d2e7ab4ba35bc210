"""Data augmentation: random views of each face, occlusion, and pictures without a face."""
