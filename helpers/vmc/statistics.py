"""Error bars of correlated series, and the V-score."""

import torch
from torch import Tensor


def _checked_series(series: Tensor) -> Tensor:
    if not isinstance(series, Tensor) or series.ndim not in (1, 2) or series.shape[-1] < 4:
        got = tuple(series.shape) if isinstance(series, Tensor) else type(series).__name__
        raise ValueError(f"need a series (steps,) or (chains, steps) of at least 4 steps, got {got}")
    return series.real if series.is_complex() else series


def binned_error(series: Tensor, size: int) -> float:
    """Standard error of the mean from bins: sqrt(var(bin means) / number of bins), unbiased variance.

    series (steps,) or (chains, steps) in time order; bins of `size` steps never cross chains, a rest is dropped.
    """
    series = _checked_series(series)
    bins = series.shape[-1] // size if size >= 1 else 0
    if bins * max(1, series.numel() // series.shape[-1]) < 2:
        raise ValueError(f"bins of size {size} leave fewer than two of them in a series of {series.shape[-1]} steps")
    means = series[..., : bins * size].unflatten(-1, (bins, size)).mean(dim=-1).flatten()
    return float((means.var(unbiased=True) / len(means)).sqrt())


def binning_curve(series: Tensor) -> tuple[Tensor, Tensor]:
    """Bin sizes 1, 2, 4, ... with at least 32 bins left, and the binned error at each: it rises to a plateau."""
    series = _checked_series(series)
    chains = series.numel() // series.shape[-1]
    sizes = [1 << k for k in range(24) if chains * (series.shape[-1] >> k) >= 32 and series.shape[-1] >> k >= 1]
    sizes = sizes or [1]
    return torch.tensor(sizes), torch.tensor([binned_error(series, size) for size in sizes], dtype=torch.float64)


def autocorrelation(series: Tensor, longest: int) -> Tensor:
    """rho(k) = <(E_t - m)(E_{t+k} - m)> / <(E_t - m)^2> for k = 0..longest, averaged over chains; (longest + 1,)."""
    series = _checked_series(series)
    steps = series.shape[-1]
    if not 0 <= longest < steps:
        raise ValueError(f"the longest lag must lie between 0 and {steps - 1}, got {longest}")
    deviation = series - series.mean()
    spectrum = torch.fft.rfft(deviation, n=2 * steps, dim=-1).abs().square()
    lagged = torch.fft.irfft(spectrum, n=2 * steps, dim=-1)[..., : longest + 1]
    lagged = lagged / torch.arange(steps, steps - longest - 1, -1, device=series.device)
    lagged = lagged.reshape(-1, longest + 1).mean(dim=0)
    return lagged / lagged[0]


def autocorrelation_time(series: Tensor) -> float:
    """tau = 1/2 + sum_k rho(k) in steps, summed up to the first window k >= 5 tau (1/2 for independent data)."""
    rho = autocorrelation(series, _checked_series(series).shape[-1] // 2)
    tau = rho.cumsum(dim=0) - 0.5
    window = torch.arange(len(rho), device=rho.device) >= 5 * tau
    last = int(window.nonzero()[0]) if bool(window.any()) else len(rho) - 1
    return max(0.5, float(tau[last]))


def v_score(energy: float, variance: float, sites: int) -> float:
    """V = sites * var(E_loc) / E^2 (2302.04919): dimensionless, zero for an eigenstate; H has no constant term here."""
    if energy == 0 or sites < 1:
        raise ValueError(f"V-score needs a non-zero energy and at least one site, got {energy}, {sites}")
    return sites * variance / energy**2
