"""onnxruntime, for checks. It must not report to its maker: its wheels do, unless told so before they are imported."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def session(content: bytes) -> onnxruntime.InferenceSession:
    """A model, ready to run in the calling thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
