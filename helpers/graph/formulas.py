"""Single formulas of the chapter, each a pure function of arrays; most of them are what the exercises ask for."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .operations import Array
from .operations import softmax_cross_entropy as _softmax_cross_entropy


def parity_network(n: int) -> tuple[Array, Array, Array, float]:
    """Threshold network W1 (n, n), b1 (n,), w2 (n,), b2 for the parity of n bits (note Exercise 1).

    Hidden unit k = 1..n fires when at least k bits are set: hidden = W1 @ x + b1 > 0. The alternating sum
    1 - 1 + 1 - ... over the units that fire is the parity, so w2 @ hidden + b2 > 0 says "odd".
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"parity_network needs a number of bits n >= 1, got {n!r}")
    k = np.arange(1, n + 1)
    return np.ones((n, n)), 0.5 - k, np.where(k % 2 == 1, 1.0, -1.0), -0.5


def linear_backward(x: Array, W: Array, delta: Array) -> tuple[Array, Array, Array]:
    """Gradients of y = x W + b given delta = dL/dy (note Eqs. 13, 15, 16), dW and db summed over the batch.

    x (batch, in), W (in, out), delta (batch, out) -> dx (batch, in), dW (in, out), db (out,).
    """
    if x.ndim != 2 or W.shape != (x.shape[1], delta.shape[-1]) or delta.shape != (len(x), W.shape[-1]):
        raise ValueError(
            "linear_backward needs x (batch, in), W (in, out), delta (batch, out), "
            f"got {x.shape}, {W.shape}, {delta.shape}"
        )
    return delta @ W.T, x.T @ delta, delta.sum(axis=0)


def softmax_cross_entropy_forward(logits: Array, labels: NDArray[np.integer]) -> float:
    """-mean_n ln softmax(logits)[n, label_n] (note Eq. 3) by a shifted log-sum-exp: finite for any finite logits.

    logits (batch, classes), labels (batch,) integers -> loss in nats.
    """
    loss, _ = _softmax_cross_entropy(logits, labels)
    return float(loss)


def softmax_cross_entropy_backward(logits: Array, labels: NDArray[np.integer]) -> Array:
    """Gradient of that loss: (softmax(logits) - one hot(labels)) / batch, (batch, classes); its rows sum to zero."""
    _, (vjp,) = _softmax_cross_entropy(logits, labels)
    return vjp(logits.dtype.type(1))


def momentum_step(
    theta: Array, velocity: Array, gradient: Array, learning_rate: float, alpha: float
) -> tuple[Array, Array]:
    """v <- alpha v - eta g, theta <- theta + v: new arrays (theta, velocity), the arguments stay as they were.

    The note's Eqs. (18), (19) leave out the learning rate eta; with it, alpha = 0 gives plain descent, Eq. (17).
    """
    velocity = alpha * velocity - learning_rate * gradient
    return theta + velocity, velocity


def periodic_conv2d(image: Array, kernel: Array) -> Array:
    """Cross-correlation on a torus (note Eq. 2, no bias): y_o,i,j = sum_c,m,n x_c,i+m-m0,j+n-n0 K_o,c,m,n.

    image (batch, cin, H, W), kernel (cout, cin, kh, kw) -> (batch, cout, H, W). (m0, n0) is the middle of the kernel,
    the upper left of the middles where a side is even. Equals torch's circular padding; one batched matrix product.
    """
    if image.ndim != 4 or kernel.ndim != 4 or image.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"need image (batch, cin, H, W), kernel (cout, cin, kh, kw), got {image.shape}, {kernel.shape}"
        )
    margins = [((size - 1) // 2, size // 2) for size in kernel.shape[2:]]
    padded = np.pad(image, [(0, 0), (0, 0), *margins], mode="wrap")
    windows = sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))  # (batch, cin, H, W, kh, kw)
    return np.einsum("bchwmn,ocmn->bohw", windows, kernel, optimize=True)


def conv_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Length that a convolution leaves of `size`: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Raises ValueError where the dilated kernel is longer than the padded input.
    """
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"size, kernel, stride, dilation must be >= 1 and padding >= 0, "
            f"got {size}, {kernel}, {stride}, {dilation} and {padding}"
        )
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError(f"a kernel that spans {dilation * (kernel - 1) + 1} does not fit into {size + 2 * padding}")
    return room // stride + 1
