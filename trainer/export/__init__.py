"""The model as an ONNX graph, with everything between a row and an answer."""
