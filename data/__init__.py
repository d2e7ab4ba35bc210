"""Faces: their files, and the code that makes and reads them."""
