"""LiteRT and ONNX: writing these files and running them."""
