"""Which qubits should be entangled? The tree of largest mutual information, after Chow and Liu (1968)."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

Array = np.ndarray


def mutual_information(samples: Array) -> Array:
    """I_ij = sum_ab p(a, b) ln(p(a, b) / (p(a) p(b))) of two columns of bits, in nats.

    samples: (N, n) of 0 and 1. Returns (n, n), symmetric; the diagonal holds the entropies I_ii = H_i.
    """
    bits = _bits(samples)
    values = np.stack([1 - bits, bits])  # (value, N, n)
    joint = np.einsum("asi,bsj->abij", values, values, optimize=True) / len(bits)
    single = values.mean(1)
    independent = single[:, None, :, None] * single[None, :, None, :]
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    return (joint * np.log(ratio)).sum((0, 1))


def chow_liu_tree(samples: Array) -> list[tuple[int, int]]:
    """The n - 1 edges of a maximum spanning tree of `mutual_information`, each (nearer to qubit 0, farther from it).

    Edges come in breadth-first order from qubit 0, so CNOTs laid along them spread out from there. Ties are broken
    arbitrarily, and pairs without any mutual information still join the tree.
    """
    information = mutual_information(samples)
    n = len(information)
    weights = np.triu(information.max() + 1 - information, 1)  # minimise; keep every edge above zero
    tree = minimum_spanning_tree(weights)
    order, parents = breadth_first_order(tree, 0, directed=False)
    return [(int(parents[q]), int(q)) for q in order[1:]] if n > 1 else []


def _bits(samples: Array) -> Array:
    bits = np.asarray(samples)
    if bits.ndim != 2 or len(bits) == 0 or not np.isin(bits, (0, 1)).all():
        raise ValueError(f"samples must be a table (N, n) of bits 0 and 1, got {bits.dtype} of shape {bits.shape}")
    return bits.astype(np.float64)
