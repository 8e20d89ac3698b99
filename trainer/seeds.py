"""Random numbers by purpose: each stream is derived from (seed, purpose, epoch), so none has to be stored."""

import hashlib

import torch


def generator(seed: int, purpose: str, epoch: int = 0, device: str = "cpu") -> torch.Generator:
    """A generator of its own for each use; equal arguments give equal numbers."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
