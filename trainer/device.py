"""Where a run computes."""

import os

import torch

from jobs.errors import NoGpu
from jobs.spec.explained import Decision
from jobs.spec.job import JobSpec
from trainer import memory

FAULTS = ("CUDA error", "CUDA driver error", "No CUDA GPUs", "cudaGetDeviceCount")
"""What torch says of a GPU or a driver that fails, where it has no error of its own for that."""


def choose(spec: JobSpec) -> tuple[str, list[Decision]]:
    """The device of this run, and the decision if it was open.

    Raises:
        NoGpu: one is asked for, and there is none.
    """
    found = torch.cuda.is_available()
    if spec.device == "cuda" and not found:
        raise NoGpu
    if spec.device != "auto":
        return spec.device, []
    device = "cuda" if found else "cpu"
    why = torch.cuda.get_device_name() if found else "This worker has no GPU."
    return device, [Decision(path="/device", requested="auto", value=device, rule="device.present", why=why)]


def name(spec: JobSpec) -> str:
    """What computes: a run goes on to the same bits only on its like."""
    return torch.cuda.get_device_name() if choose(spec)[0] == "cuda" else torch.backends.cpu.get_cpu_capability()


def failed(error: RuntimeError) -> bool:
    """Whether a GPU or its driver failed; memory that ran out is another matter."""
    return isinstance(error, torch.AcceleratorError) or any(fault in str(error) for fault in FAULTS)


def set_up(device: str, strict: bool) -> None:
    """A GPU repeats itself only if told to; a processor always does."""
    memory.hold()
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants a fixed workspace for that
        torch.use_deterministic_algorithms(strict)
        torch.backends.cudnn.benchmark = not strict
        torch.backends.cudnn.allow_tf32 = not strict
        torch.set_float32_matmul_precision("highest" if strict else "high")
