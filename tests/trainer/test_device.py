"""What is a GPU's fault and what is not."""

import pytest
import torch

from trainer import device


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (torch.AcceleratorError("an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: unspecified launch failure"), True),
        (RuntimeError("CUDA driver error: device not ready"), True),
        (RuntimeError("No CUDA GPUs are available"), True),
        (RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 804"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_gpu_that_fails_is_told_from_a_defect(error: RuntimeError, failed: bool) -> None:
    assert device.failed(error) is failed
