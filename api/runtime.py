"""onnxruntime, to predict. It must not report to its maker: its wheels do, unless told so before they are imported."""

import ctypes
import os
from contextlib import suppress

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

M_MMAP_THRESHOLD = -3
"""Of `malloc.h`."""
LARGE = 1024**2
"""Bytes."""


def session(content: bytes) -> onnxruntime.InferenceSession:
    """A model, ready to run in the calling thread: requests run side by side, so none needs several processors."""
    _give_back()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # what a large request took is given back
    options.log_severity_level = 4
    made = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    made._model_bytes = None  # it would keep them for when another provider fails
    return made


def _give_back() -> None:
    """Has glibc give large blocks back to the system when they are freed; it learns to keep those of up to 32 MiB, and
    for each thread."""
    with suppress(AttributeError):  # there are others
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
