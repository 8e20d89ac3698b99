"""Whether memory ran out: torch says it in one way for a GPU and in another for a processor."""

import torch

CPU_ALLOCATOR = "DefaultCPUAllocator"


def ran_out(error: BaseException) -> bool:
    """True for the errors that a smaller batch may mend."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error)
