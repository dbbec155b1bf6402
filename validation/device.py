"""The device that a command names, and the precision of products on it."""

from __future__ import annotations

import torch


def opened(name: str) -> torch.device:
    """The device of a name, once it is known to draw numbers in double precision, with exact products.

    Raises
    ------
    RuntimeError, AssertionError, NotImplementedError, TypeError
        As PyTorch says that there is no such device.
    """
    device = torch.device(name)
    generator = torch.Generator(device)
    torch.randn(1, generator=generator, device=device, dtype=torch.float64).item()
    pin_precision()
    return device


def pin_precision() -> None:
    """Products of single-precision matrices in single precision.

    The tensor cores of a GPU round factors to ten bits (TF32). Gradients would then be off by a thousandth of
    themselves, which does not average out over prompts and which no error bar of these checks knows of.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
