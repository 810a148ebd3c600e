"""Inputs by declaration: one judgement visits every edge of every size, and something of the inside.

    for size in sizes(rng, batch=(1, 2, 5), rows=(1, 3, 4)):
        x = rng.normal(size=(size.batch, size.rows))

The smallest case comes first, so that the first to fail is the smallest there is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

Array = np.ndarray
Rng = np.random.Generator


def sizes(rng: Rng, **axes: Sequence[int]) -> list[SimpleNamespace]:
    """Cases in which each axis takes each of its edges, any two axes differ, and one case lies inside at random.

    Each axis names its edges, the smallest first.  Two axes of equal edges still differ in some case.
    """
    names, edges = list(axes), list(axes.values())
    rounds = max(map(len, edges))
    rows = {tuple(e[0] for e in edges)}
    rows |= {tuple(e[(k + shift) % len(e)] for shift, e in enumerate(edges)) for k in range(rounds)}
    for a, b in itertools.combinations(range(len(edges)), 2):
        if all(row[a] == row[b] for row in rows):
            rows.add(tuple(e[-1] if k == a else e[0] for k, e in enumerate(edges)))
    rows.add(tuple(int(rng.integers(min(e), max(e) + 1)) for e in edges))
    ordered = sorted(rows, key=lambda row: (math.prod(row), row))
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in ordered]


def huge_beside_small(rng: Rng, shape: tuple[int, ...], huge: float = 1000.0) -> Array:
    """Normal numbers in which some rows, and some entries of other rows, are of size `huge`, of both signs."""
    x = rng.normal(size=shape)
    flat = x.reshape(-1, shape[-1]) if len(shape) > 1 else x.reshape(1, -1)
    flat[::2] *= huge
    flat[1::3, -1] = -huge
    return x
