"""LiteRT and ONNX: exporting to these formats and running the exports."""
