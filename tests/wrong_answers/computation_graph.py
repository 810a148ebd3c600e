"""Answers to chapter 01: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import numpy as np
import torch
from scipy import signal
from scipy.special import log_softmax, logsumexp, softmax

from helpers import graph
from tests.suite import Suite

suite = Suite("computation_graph")
right, wrong = suite.right, suite.wrong

# ---------------------------------------------------------------------------------------------------- parity_network


def parity_with_steps(n):
    k = np.arange(n)
    return np.ones((n, n)), -(k + 0.5), (-1.0) ** k, -0.5


def parity_by_differences(n):
    """n + 1 units, one of them always on; weights of other sizes."""
    thresholds = np.arange(n + 1) - 0.25
    signs = np.where(np.arange(n + 1) % 2, 2.0, -2.0)
    signs[0] = -1.0
    return np.full((n + 1, n), 3.0), -3 * thresholds, signs, 0.0


def parity_xor_only(n):
    W1, b1 = np.zeros((2, n)), np.array([-0.5, -1.5])
    W1[:, :2] = 1
    return W1, b1, np.array([1.0, -1.0]), -0.5


def parity_off_by_one(n):
    k = np.arange(1, n + 1)
    return np.ones((n, n)), -0.5 - k, np.where(k % 2, 1.0, -1.0), -0.5


def parity_majority(n):
    return np.ones((1, n)), np.array([-n / 2]), np.array([1.0]), -0.5


def parity_turned_round(n):
    W1, b1, w2, b2 = graph.parity_network(n)
    return W1, b1, -w2, -b2


def parity_too_many_units(n):
    W1, b1, w2, b2 = graph.parity_network(n)
    return np.tile(W1, (3, 1)), np.tile(b1, 3), np.tile(w2, 3) / 3, b2


def parity_threshold_at_zero(n):
    """Units that should fire at k bits or more sit exactly on the threshold, where > 0 does not fire."""
    k = np.arange(1, n + 1)
    return np.ones((n, n)), -k.astype(float), np.where(k % 2, 1.0, -1.0), -0.5


def parity_weights_transposed(n):
    _, b1, w2, b2 = graph.parity_network(n)
    return np.ones((n, n + 1)), b1, w2, b2


right("parity_network", graph.parity_network)
right("parity_network", parity_with_steps)
right("parity_network", parity_by_differences)
wrong("parity_network", "inputs of .* bits are misread", parity_xor_only)
wrong("parity_network", "inputs of 5 bits are misread", parity_off_by_one)
wrong("parity_network", "majority", parity_majority)
wrong("parity_network", "turned round", parity_turned_round)
wrong("parity_network", "hidden units", parity_too_many_units)
wrong("parity_network", "inputs of 5 bits are misread", parity_threshold_at_zero)
wrong("parity_network", r"W1 should have shape", parity_weights_transposed)

# --------------------------------------------------------------------------------------------------- linear_backward


def linear_by_einsum(x, W, delta):
    return np.einsum("bv,mv->bm", delta, W), np.einsum("bm,bv->mv", x, delta), np.einsum("bv->v", delta)


def linear_by_torch(x, W, delta):
    x, W = torch.tensor(x, requires_grad=True), torch.tensor(W, requires_grad=True)
    b = torch.zeros(W.shape[1], dtype=torch.float64, requires_grad=True)
    (x @ W + b).backward(torch.tensor(delta))
    return x.grad, W.grad, b.grad


def w_for_w_transposed(x, W, delta):
    dx = delta @ W if W.shape[0] == W.shape[1] else delta @ W.T
    return dx, x.T @ delta, delta.sum(axis=0)


def dw_transposed(x, W, delta):
    return delta @ W.T, delta.T @ x, delta.sum(axis=0)


def batch_mean(x, W, delta):
    return delta @ W.T, x.T @ delta / len(x), delta.mean(axis=0)


def db_without_batch_sum(x, W, delta):
    return delta @ W.T, x.T @ delta, delta


def db_over_outputs(x, W, delta):
    return delta @ W.T, x.T @ delta, delta.sum(axis=1)


def dw_first_sample(x, W, delta):
    return delta @ W.T, np.outer(x[0], delta[0]), delta.sum(axis=0)


def dx_forgotten(x, W, delta):
    return x.T @ delta, delta.sum(axis=0)


def dx_uphill(x, W, delta):
    return -delta @ W.T, x.T @ delta, delta.sum(axis=0)


def dx_divided(x, W, delta):
    return delta @ W.T / len(x), x.T @ delta, delta.sum(axis=0)


def dx_mean(x, W, delta):
    return (delta @ W.T).mean(axis=0), x.T @ delta, delta.sum(axis=0)


def dx_sum(x, W, delta):
    return (delta @ W.T).sum(axis=0), x.T @ delta, delta.sum(axis=0)


def dw_uphill(x, W, delta):
    return delta @ W.T, -x.T @ delta, delta.sum(axis=0)


def db_uphill(x, W, delta):
    return delta @ W.T, x.T @ delta, -delta.sum(axis=0)


def delta_divided_in_place(x, W, delta):
    delta /= len(x)
    return delta @ W.T, x.T @ delta, delta.sum(axis=0)


def delta_summed_in_place(x, W, delta):
    """Right values, and a caller whose delta is gone."""
    dx, dW = delta @ W.T, x.T @ delta
    delta[0] = delta.sum(axis=0)
    return dx, dW, delta[0]


right("linear_backward", graph.linear_backward)
right("linear_backward", linear_by_einsum)
right("linear_backward", linear_by_torch)
wrong("linear_backward", "W where its transpose belongs", w_for_w_transposed)
wrong("linear_backward", "dW is transposed", dw_transposed)
wrong("linear_backward", "mean over the batch", batch_mean)
wrong("linear_backward", "batch axis", db_without_batch_sum)
wrong("linear_backward", "axis to sum is the batch", db_over_outputs)
wrong("linear_backward", "first sample only", dw_first_sample)
wrong("linear_backward", "return 3 values", dx_forgotten)
wrong("linear_backward", "dx has the wrong sign", dx_uphill)
wrong("linear_backward", "dx divides by the batch size", dx_divided)
wrong("linear_backward", "dx is one mean over the batch", dx_mean)
wrong("linear_backward", "dx is one sum over the batch", dx_sum)
wrong("linear_backward", "dW has the wrong sign", dw_uphill)
wrong("linear_backward", "db has the wrong sign", db_uphill)
wrong("linear_backward", "writes into its argument|divides by the batch", delta_divided_in_place)
wrong("linear_backward", "writes into its argument", delta_summed_in_place)

# --------------------------------------------------------------------------------------------- softmax_cross_entropy

rows = np.arange
sce_forward, sce_backward = graph.softmax_cross_entropy_forward, graph.softmax_cross_entropy_backward


def sce_by_logsumexp(logits, labels):
    return np.mean(logsumexp(logits, axis=1) - logits[rows(len(labels)), labels])


def sce_gradient_by_eye(logits, labels):
    return (softmax(logits, axis=1) - np.eye(logits.shape[1])[labels]) / len(labels)


def sce_by_torch(logits, labels):
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))


def sce_gradient_by_torch(logits, labels):
    z = torch.tensor(logits, requires_grad=True)
    torch.nn.functional.cross_entropy(z, torch.tensor(labels)).backward()
    return z.grad


def sce_no_shift(logits, labels):
    e = np.exp(logits)
    return -np.mean(np.log(e[rows(len(labels)), labels] / e.sum(axis=1)))


def sce_log_of_softmax(logits, labels):
    return -np.mean(np.log(softmax(logits, axis=1)[rows(len(labels)), labels]))


def sce_clipped_softmax(logits, labels):
    return -np.mean(np.log(np.maximum(softmax(logits, axis=1)[rows(len(labels)), labels], 1e-12)))


def sce_sum(logits, labels):
    return -np.sum(log_softmax(logits, axis=1)[rows(len(labels)), labels])


def sce_sign(logits, labels):
    return np.mean(log_softmax(logits, axis=1)[rows(len(labels)), labels])


def sce_per_sample(logits, labels):
    return -log_softmax(logits, axis=1)[rows(len(labels)), labels]


def sce_gradient_without_batch(logits, labels):
    return sce_gradient_by_eye(logits, labels) * len(labels)


def sce_gradient_batch_twice(logits, labels):
    return sce_gradient_by_eye(logits, labels) / len(labels)


def sce_gradient_wrong_index(logits, labels):
    return sce_gradient_by_eye(logits, (labels + 1) % logits.shape[1])


def sce_gradient_every_column(logits, labels):
    return (softmax(logits, axis=1) - 1) / len(labels)


def sce_gradient_no_shift(logits, labels):
    e = np.exp(logits)
    return (e / e.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[labels]) / len(labels)


def sce_gradient_uphill(logits, labels):
    return -sce_gradient_by_eye(logits, labels)


right("softmax_cross_entropy", sce_forward, sce_backward)
right("softmax_cross_entropy", sce_by_logsumexp, sce_gradient_by_eye)
right("softmax_cross_entropy", sce_by_torch, sce_gradient_by_torch)
wrong("softmax_cross_entropy", "overflows", sce_no_shift, sce_backward)
wrong("softmax_cross_entropy", "rounded to 0", sce_log_of_softmax, sce_backward)
wrong("softmax_cross_entropy", "rounded to 0|overflows", sce_clipped_softmax, sce_backward)
wrong("softmax_cross_entropy", "sum over the batch", sce_sum, sce_backward)
wrong("softmax_cross_entropy", "minus the log-likelihood", sce_sign, sce_backward)
wrong("softmax_cross_entropy", "one loss per sample", sce_per_sample, sce_backward)
for answer, says in (
    (sce_gradient_without_batch, "1/batch of the mean is missing"),
    (sce_gradient_batch_twice, "1/batch of the mean is in the gradient twice"),
    (sce_gradient_wrong_index, "wrong class"),
    (sce_gradient_every_column, "every column"),
    (sce_gradient_no_shift, "NaN or infinity"),
    (sce_gradient_uphill, "sign"),
):
    wrong("softmax_cross_entropy", says, sce_forward, answer, name=answer.__name__)

# ---------------------------------------------------------------------------------------------------------- backward


def _order(tape):
    """Topological order by counting the parents that are still to come."""
    waiting = [len(p) for p in tape.parents]
    order = [i for i, n in enumerate(waiting) if n == 0]
    for i in order:
        for child, parents in enumerate(tape.parents):
            for parent in parents:
                if parent == i:
                    waiting[child] -= 1
                    if waiting[child] == 0:
                        order.append(child)
    return order


def backward_by_counting(tape):
    grads = [np.zeros(v.shape) for v in tape.values]
    grads[tape.output] = np.ones(tape.values[tape.output].shape)
    for i in reversed(_order(tape)):
        for parent, g in zip(tape.parents[i], tape.vjp(i, grads[i]), strict=True):
            grads[parent] = grads[parent] + g
    return grads


def backward_by_recursion(tape):
    order, seen = [], set()

    def visit(i):
        if i not in seen:
            seen.add(i)
            for parent in tape.parents[i]:
                visit(parent)
            order.append(i)

    visit(tape.output)
    grads = [0 * v for v in tape.values]
    grads[tape.output] = grads[tape.output] + 1
    for i in reversed(order):
        for parent, g in zip(tape.parents[i], tape.vjp(i, grads[i]), strict=True):
            grads[parent] = grads[parent] + g
    return tuple(grads)


def _walk(tape, accumulate, order):
    grads = [0 * v for v in tape.values]
    grads[tape.output] = grads[tape.output] + 1
    for i in order:
        for parent, g in zip(tape.parents[i], tape.vjp(i, grads[i]), strict=True):
            grads[parent] = grads[parent] + g if accumulate else g
    return grads


def last_write_wins(tape):
    return _walk(tape, False, list(reversed(_order(tape))))


def in_listed_order(tape):
    return _walk(tape, True, list(reversed(range(len(tape)))))


def depth_first(tape):
    """Each node once, parents right after their first child: too early for shared nodes."""
    order, stack = [], [tape.output]
    while stack:
        i = stack.pop()
        if i not in order:
            order.append(i)
            stack.extend(tape.parents[i])
    return _walk(tape, True, order)


def every_path(tape):
    grads = [0 * v for v in tape.values]

    def push(i, upstream):
        grads[i] = grads[i] + upstream
        for parent, g in zip(tape.parents[i], tape.vjp(i, upstream), strict=True):
            push(parent, g)

    push(tape.output, np.ones(tape.values[tape.output].shape))
    return grads


def one_visit_per_parent(tape):
    """x * x counted once: parents are put into a set."""
    grads = [0 * v for v in tape.values]
    grads[tape.output] = grads[tape.output] + 1
    for i in reversed(_order(tape)):
        done = set()
        for parent, g in zip(tape.parents[i], tape.vjp(i, grads[i]), strict=True):
            if parent not in done:
                grads[parent] = grads[parent] + g
            done.add(parent)
    return grads


def uphill(tape):
    return [-g for g in graph.backward(tape)]


def leaves_only(tape):
    return [g for g, parents in zip(graph.backward(tape), tape.parents, strict=True) if not parents]


_kept: dict[int, np.ndarray] = {}


def stale(tape):
    """Gradients are kept between calls, as if nobody had cleared them."""
    fresh = graph.backward(tape)
    key = hash(tuple(v.tobytes() for v in tape.values))
    if key in _kept:
        fresh = [a + b for a, b in zip(fresh, _kept[key], strict=True)]
    _kept[key] = fresh
    return fresh


right("backward", graph.backward)
right("backward", backward_by_counting)
right("backward", backward_by_recursion)
wrong("backward", "overwrites", last_write_wins)
wrong("backward", "was every child of it finished|zero everywhere|only its|overwrites", in_listed_order)
wrong("backward", "was every child of it finished|add up|receives twice", depth_first)
wrong("backward", "walked anew", every_path)
wrong("backward", "receives twice", one_visit_per_parent)
wrong("backward", "is wrong|wrong sign", uphill)
wrong("backward", "one gradient per node", leaves_only)
wrong("backward", "start from zero each time|keeps something", stale)

# ----------------------------------------------------------------------------------------------------- momentum_step


def momentum_in_one_line(theta, velocity, gradient, learning_rate, alpha):
    return theta + alpha * velocity - learning_rate * gradient, alpha * velocity - learning_rate * gradient


def momentum_in_torch(theta, velocity, gradient, learning_rate, alpha):
    theta, velocity, gradient = map(torch.tensor, (theta, velocity, gradient))
    velocity = velocity.mul(alpha).add(gradient, alpha=-learning_rate)
    return theta + velocity, velocity


def momentum_uphill(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity + learning_rate * gradient
    return theta + velocity, velocity


def momentum_minus_v(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity - learning_rate * gradient
    return theta - velocity, velocity


def momentum_rate_twice(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity - learning_rate * gradient
    return theta + learning_rate * velocity, velocity


def momentum_as_printed(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity - gradient
    return theta + velocity, velocity


def momentum_old_velocity(theta, velocity, gradient, learning_rate, alpha):
    return theta + velocity, alpha * velocity - learning_rate * gradient


def momentum_averaged(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity - (1 - alpha) * learning_rate * gradient
    return theta + velocity, velocity


def momentum_in_place(theta, velocity, gradient, learning_rate, alpha):
    velocity *= alpha
    velocity -= learning_rate * gradient
    theta += velocity
    return theta, velocity


right("momentum_step", graph.momentum_step)
right("momentum_step", momentum_in_one_line)
right("momentum_step", momentum_in_torch)
wrong("momentum_step", "uphill|wrong sign", momentum_uphill)
wrong("momentum_step", "moves against v", momentum_minus_v)
wrong("momentum_step", "applied twice", momentum_rate_twice)
wrong("momentum_step", "lacks the learning rate", momentum_as_printed)
wrong("momentum_step", "update v first", momentum_old_velocity)
wrong("momentum_step", "1 - α", momentum_averaged)
wrong("momentum_step", "changed in place|writes into its argument", momentum_in_place)

# ---------------------------------------------------------------------------------------------------- input_gradient


def _delta(images, labels, layers):
    (W1, b1), (W2, b2) = layers
    z = images @ W1 + b1
    logits = np.maximum(z, 0) @ W2 + b2
    d = (softmax(logits, axis=1) - np.eye(logits.shape[1])[labels]) / len(labels)
    return z, d


def ig_by_hand(images, labels, layers):
    z, d = _delta(images, labels, layers)
    return ((d @ layers[1][0].T) * (z > 0)) @ layers[0][0].T


def ig_by_torch(images, labels, layers):
    (W1, b1), (W2, b2) = [map(torch.tensor, layer) for layer in layers]
    x = torch.tensor(images, requires_grad=True)
    logits = torch.relu(x @ W1 + b1) @ W2 + b2
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    return x.grad.numpy()


def attack_with(gradient):
    return lambda x, y, w, epsilon: np.clip(x + epsilon * np.sign(gradient(x, y, w)), 0, 1)


def ig_of_weights(images, labels, layers):
    z, d = _delta(images, labels, layers)
    return images.T @ ((d @ layers[1][0].T) * (z > 0))


def ig_sign(images, labels, layers):
    return -ig_by_hand(images, labels, layers)


def ig_no_relu_slope(images, labels, layers):
    _, d = _delta(images, labels, layers)
    return d @ layers[1][0].T @ layers[0][0].T


def ig_no_batch(images, labels, layers):
    return len(images) * ig_by_hand(images, labels, layers)


def ig_of_hidden(images, labels, layers):
    z, d = _delta(images, labels, layers)
    return (d @ layers[1][0].T) * (z > 0)


def attack_downhill(images, labels, layers, epsilon):
    return np.clip(images - epsilon * np.sign(ig_by_hand(images, labels, layers)), 0, 1)


def attack_unclipped(images, labels, layers, epsilon):
    return images + epsilon * np.sign(ig_by_hand(images, labels, layers))


def attack_without_sign(images, labels, layers, epsilon):
    return np.clip(images + epsilon * ig_by_hand(images, labels, layers), 0, 1)


right("input_gradient", ig_by_hand, attack_with(ig_by_hand))
right("input_gradient", ig_by_torch, attack_with(ig_by_torch))
right("input_gradient", graph.input_gradient, graph.adversarial)
wrong("input_gradient", "gradient of the weights", ig_of_weights, attack_with(ig_by_hand))
wrong("input_gradient", "sign is turned round", ig_sign, attack_with(ig_sign))
wrong("input_gradient", "ReLU", ig_no_relu_slope, attack_with(ig_no_relu_slope))
wrong("input_gradient", "1/batch", ig_no_batch, attack_with(ig_no_batch))
wrong("input_gradient", "should have shape", ig_of_hidden, attack_with(ig_by_hand))
wrong("input_gradient", "downhill", ig_by_hand, attack_downhill, name="attack_downhill")
wrong("input_gradient", r"leave the range", ig_by_hand, attack_unclipped, name="attack_unclipped")
wrong("input_gradient", "gradient's sign", ig_by_hand, attack_without_sign, name="attack_without_sign")

# --------------------------------------------------------------------------------------------------- periodic_conv2d

size = graph.conv_output_size


def conv_by_torch(image, kernel):
    image, kernel = torch.tensor(image), torch.tensor(kernel)
    pad = [kernel.shape[3] // 2] * 2 + [kernel.shape[2] // 2] * 2
    return torch.nn.functional.conv2d(torch.nn.functional.pad(image, pad, mode="circular"), kernel)


def conv_by_rolling(image, kernel):
    out = np.zeros((len(image), len(kernel), *image.shape[2:]))
    h, w = kernel.shape[2:]
    for m in range(h):
        for n in range(w):
            moved = np.roll(image, (h // 2 - m, w // 2 - n), axis=(2, 3))
            out += np.einsum("bcij,oc->boij", moved, kernel[:, :, m, n])
    return out


def size_by_counting(size, kernel, stride=1, padding=0, dilation=1):
    last = size + 2 * padding - dilation * (kernel - 1)
    return sum(1 for start in range(last) if start % stride == 0)


def conv_flipped(image, kernel):
    return conv_by_rolling(image, kernel[:, :, ::-1, ::-1])


def conv_zero_padding(image, kernel):
    pad = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    return torch.nn.functional.conv2d(torch.tensor(image), torch.tensor(kernel), padding=pad).numpy()


def conv_channels_swapped(image, kernel):
    if kernel.shape[0] == kernel.shape[1]:
        kernel = kernel.swapaxes(0, 1)
    return conv_by_rolling(image, kernel)


def conv_not_centred(image, kernel):
    return np.roll(conv_by_rolling(image, kernel), (-1, -1), axis=(2, 3))


def conv_axes_swapped(image, kernel):
    return conv_by_rolling(image, kernel.swapaxes(2, 3))


def conv_valid(image, kernel):
    return torch.nn.functional.conv2d(torch.tensor(image), torch.tensor(kernel)).numpy()


def conv_one_channel(image, kernel):
    """Each output from the first input channel alone."""
    return np.stack([[signal.correlate2d(im[0], k[0], "same", "wrap") for k in kernel] for im in image])


def size_one_sided_padding(size, kernel, stride=1, padding=0, dilation=1):
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


def size_without_dilation(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - kernel) // stride + 1


def size_without_last(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride


def size_rounded_up(size, kernel, stride=1, padding=0, dilation=1):
    return -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1


def size_true_division(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1


conv = graph.periodic_conv2d
right("periodic_conv2d", conv, size)
right("periodic_conv2d", conv_by_torch, size_by_counting)
right("periodic_conv2d", conv_by_rolling, size)
for answer, says in (
    (conv_flipped, "cross-correlation"),
    (conv_zero_padding, "zeros"),
    (conv_channels_swapped, "channel axes"),
    (conv_not_centred, "not centred"),
    (conv_axes_swapped, "height and width"),
    (conv_valid, "border is cut off"),
    (conv_one_channel, "term by term"),
):
    wrong("periodic_conv2d", says, answer, size)
for answer, says in (
    (size_one_sided_padding, "both sides"),
    (size_without_dilation, "dilation stretches"),
    (size_without_last, "last place"),
    (size_rounded_up, "rounds up"),
    (size_true_division, "wrong for"),
):
    wrong("periodic_conv2d", says, conv, answer, name=answer.__name__)
