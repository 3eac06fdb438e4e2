"""A network on slices: on which device, in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

NATIVE_BFLOAT16 = {("avx512_bf16", True), ("amx_bf16", True), ("bf16", True)}
"""Capabilities of CPUs, x86 and ARM, that multiply bfloat16 by themselves."""

BATCH = 16
"""Slices that are computed at a time."""


def device_at_hand() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return the mixed precision of a device: bfloat16, whose range needs no loss scaling.

    A CPU without instructions for it would emulate them thirty times slower than float32, and keeps float32.
    So does a GPU from before Ampere.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = bool(NATIVE_BFLOAT16 & torch.cpu.get_capabilities().items())
    context: AbstractContextManager[None] = torch.autocast(device.type, dtype=torch.bfloat16, enabled=able)
    return context


def predict(model: nn.Module, slices: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """Return logits (n, 1, rows, columns) of prepared slices (n, channels, rows, columns)."""
    model.eval()
    parts = []
    with torch.no_grad(), autocast(device):
        for start in range(0, len(slices), BATCH):
            part = torch.tensor(slices[start : start + BATCH], device=device)
            parts.append(model(part.contiguous(memory_format=torch.channels_last)).float().cpu())
    joined: NDArray[np.float32] = torch.cat(parts).numpy()
    return joined
