"""How many floating point operations per second a device delivers, over the size of the task (note Tables 3, 4)."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def matmul_throughput(
    sizes: Sequence[int],
    device: str | torch.device = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    with_transfer: bool = False,
    seconds: float = 0.05,
) -> NDArray[np.float64]:
    """GFLOP/s of an n x n matrix product (2 n^3 operations) for each n in `sizes`, spending `seconds` on each.

    The best of the repeats counts, as whatever else the machine does can only slow it down. With `with_transfer` the
    factors travel from the memory of the CPU to the device, and the product back, within the measured time.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes must be positive whole numbers, got {sizes!r}")
    return np.array([2e-9 * n**3 / _best_time(n, torch.device(device), dtype, with_transfer, seconds) for n in sizes])


def _best_time(n: int, device: torch.device, dtype: torch.dtype, with_transfer: bool, seconds: float) -> float:
    """Shortest time in seconds for one product of n x n matrices, over repeats that take `seconds` in all."""
    home = torch.device("cpu") if with_transfer else device
    a, b = torch.ones(n, n, dtype=dtype, device=home), torch.ones(n, n, dtype=dtype, device=home)

    def product() -> float:
        start = time.perf_counter()
        c = a.to(device) @ b.to(device)
        if with_transfer:
            c.cpu()
        _wait(device)
        return time.perf_counter() - start

    product()  # the first call pays for set-up
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(product())
    return min(times)


def _wait(device: torch.device) -> None:
    """Kernels run behind the program's back: wait for them before reading the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
