"""Choose the device that tensors live on: one switch at the top of every notebook."""

from __future__ import annotations

import torch

from helpers.needs import SetUpError

NAMES = ("auto", "cpu", "cuda", "mps")


def available() -> tuple[str, ...]:
    """Names of the devices that this machine can compute on, fastest first."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def pick(name: str = "auto", *, dtype: torch.dtype | None = None) -> torch.device:
    """The device called `name`; "auto" takes the fastest one that can hold `dtype`.

    Apple's MPS has neither float64 nor complex numbers: asked for those, the answer is the CPU, with one line that
    says so.  Raises ValueError for an unknown name and SetUpError for a device that this machine lacks.
    """
    if name not in NAMES:
        raise ValueError(f"device {name!r} is unknown: choose one of {', '.join(NAMES)}")
    chosen = available()[0] if name == "auto" else name
    if chosen not in available():
        raise SetUpError(_lacking(chosen))
    if chosen == "mps" and dtype in (torch.float64, torch.complex64, torch.complex128):
        print(f"MPS cannot hold {str(dtype).removeprefix('torch.')}: this runs on the CPU.")
        chosen = "cpu"
    return torch.device(chosen)


def _lacking(name: str) -> str:
    """What to do where there is no such device."""
    built = torch.version.cuda if name == "cuda" else torch.backends.mps.is_built()
    why = "" if built else f" (torch {torch.__version__} is built without it)"
    cure = f'set device = "auto" in the first code cell (that is {available()[0]} here)'
    return f"This machine has no {name} device{why}: {cure}; in Colab, Runtime, Change runtime type offers a GPU."


def describe(device: torch.device) -> str:
    """One line for the reader: the device, its model where known, and the number of CPU threads."""
    if device.type == "cuda":
        return f"{device.type}: {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {torch.get_num_threads()} threads"
