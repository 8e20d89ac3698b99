"""Imported once by the process that training processes are forked from, so that they start in milliseconds.

Nothing here may start a thread or touch CUDA: a fork would copy neither. polars starts threads when imported, so it is
imported by each child itself.
"""

import jinja2
import onnx.numpy_helper
import safetensors.torch
import sklearn.metrics
import sklearn.model_selection
import sklearn.preprocessing
import torch

from trainer.export import runtime

__all__ = ["jinja2", "onnx", "runtime", "safetensors", "sklearn", "torch"]
