"""Data augmentation: new views of each face, occlusion, and pictures without a face."""
