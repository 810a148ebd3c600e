"""Checks of chapter 01, computation graph and back propagation: 23 points in seven exercises."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax

from helpers import data, graph, oracles
from helpers.checks.boundary import Answer, Raised
from helpers.checks.laws import Expect, Rng, exercise, holds, law

Array = np.ndarray
Layers = list[tuple[Array, Array]]


@exercise(points=2)
def parity_network(parity_network: Answer, *, rng: Rng) -> None:
    """Note Exercise 1: W1, b1, w2, b2 of a threshold network that tells odd from even bit strings."""
    with law("right on all inputs of two bits (XOR)", points=0.5) as ok:
        _judge_parity(ok, parity_network, 2)
    with law("right on all 2^n inputs, n = 1..10, with at most n + 1 hidden units", points=1.5) as ok:
        for n in (5, *(int(n) for n in rng.permutation(np.arange(1, 11)))):
            _judge_parity(ok, parity_network, n)


def _judge_parity(ok: Expect, parity_network: Answer, n: int) -> None:
    W1, b1, w2, b2 = ok.many(parity_network(n), 4, "W1, b1, w2 and b2")
    hidden = np.asarray(b1).size
    ok.true(0 < hidden <= n + 1, f"for {n} bits you use {hidden} hidden units; at most {n + 1} are needed")
    W1, b1 = ok.array(W1, (hidden, n), name="W1"), ok.array(b1, (hidden,), name="b1")
    w2, b2 = ok.array(w2, (hidden,), name="w2"), ok.number(b2, "b2")
    bits = oracles.bit_strings(n)
    ones = bits.sum(axis=1)
    says_odd = (bits @ W1.T + b1 > 0) @ w2 + b2 > 0
    wrong = np.flatnonzero(says_odd != (ones % 2 == 1))
    ok.true(np.any(says_odd) and not np.all(says_odd), f"for {n} bits your network gives one answer to every input")
    ok.true(
        not np.array_equal(says_odd, ones % 2 == 0), f"for {n} bits every answer is turned round: odd should be > 0"
    )
    majority = n > 3 and np.array_equal(says_odd, 2 * ones > n)
    ok.true(not majority, "that is the majority of the bits, not their parity")
    if len(wrong):
        example = "".join(map(str, bits[wrong[0]]))
        ok.fail(f"{len(wrong)} of the {2**n} inputs of {n} bits are misread, {example} first; a unit fires above 0")


@exercise(points=3, steady=0.5)
def linear_backward(linear_backward: Answer, *, rng: Rng) -> None:
    """Note Eqs. (13), (15), (16): gradients of x W + b from the gradient delta of the layer's output."""
    batch, rows, columns = rng.permutation(np.arange(3, 8))[:3]
    x, W = rng.normal(size=(batch, rows)), rng.normal(size=(rows, columns))
    b, delta = rng.normal(size=columns), rng.normal(size=(batch, columns))

    def contracted(x: Array, W: Array, b: Array) -> float:
        return float(np.sum((x @ W + b) * delta))

    with law("dx is the gradient with respect to the input", points=1) as ok:
        dx, _, _ = ok.many(linear_backward(x, W, delta), 3, "dx, dW and db")
        truth = oracles.central_difference(lambda x: contracted(x, W, b), x)
        mistakes = _factors("dx", truth, batch) | {
            "dx is one mean over the batch: each sample has its own row": truth.mean(axis=0),
            "dx is one sum over the batch: each sample has its own row": truth.sum(axis=0),
        }
        ok.close(dx, truth, "dx disagrees with central differences", tolerance=1e-7, mistakes=mistakes, name="dx")
        square = rng.normal(size=(columns, columns))  # where W and its transpose both fit
        got = ok.many(linear_backward(delta, square, delta), 3, "dx, dW and db")[0]
        transposed = {"dx uses W where its transpose belongs: δ comes back along the columns": delta @ square}
        ok.close(got, delta @ square.T, "dx disagrees with δ carried back through W", mistakes=transposed, name="dx")
    with law("dW is the gradient with respect to the weights", points=1) as ok:
        _, dW, _ = ok.many(linear_backward(x, W, delta), 3, "dx, dW and db")
        truth = oracles.central_difference(lambda W: contracted(x, W, b), W)
        mistakes = _factors("dW", truth, batch) | {
            "dW is transposed: rows belong to the inputs, columns to the outputs": truth.T,
            "dW holds the first sample only: every sample of the batch adds to it": np.outer(x[0], delta[0]),
        }
        ok.close(dW, truth, "dW disagrees with central differences", tolerance=1e-7, mistakes=mistakes, name="dW")
    bias = "db is the gradient with respect to the bias"
    with law(bias, points=0.5) as ok:
        _, _, db = ok.many(linear_backward(x, W, delta), 3, "dx, dW and db")
        truth = oracles.central_difference(lambda b: contracted(x, W, b), b)
        mistakes = _factors("db", truth, batch) | {
            "db still has a batch axis: the bias is shared by all samples, so their δ add up": delta,
            "db sums over the outputs: the axis to sum is the batch": delta.sum(axis=1),
        }
        ok.close(db, truth, "db disagrees with central differences", tolerance=1e-7, mistakes=mistakes, name="db")


def _factors(name: str, truth: Array, batch: int) -> dict[str, Array]:
    """The factors that get into any of the three gradients of a linear layer."""
    mean = "divides by the batch size" if name == "dx" else "is the mean over the batch"
    cure = "leave it as it is" if name == "dx" else "the batch is summed"
    return {
        f"{name} has the wrong sign: a sum passes δ back as it came": -truth,
        f"{name} {mean}: the mean is already in δ, here {cure}": truth / batch,
    }


@exercise(points=4)
def softmax_cross_entropy(
    softmax_cross_entropy_forward: Answer, softmax_cross_entropy_backward: Answer, *, rng: Rng
) -> None:
    """Eq. (3) for class labels: the mean negative log-likelihood of a softmax, and its gradient in one piece."""
    batch, classes = int(rng.integers(3, 8)), int(rng.integers(3, 7))
    logits, labels = 2 * rng.normal(size=(batch, classes)), rng.integers(classes, size=batch)
    p, one_hot = softmax(logits, axis=1), np.eye(classes)[labels]
    each = -log_softmax(logits, axis=1)[np.arange(batch), labels]
    value = "the loss is the mean of -ln p(label)"
    with law(value, points=1) as ok:
        mistakes = {
            "that is the sum over the batch: Eq. (3) takes the mean": each.sum(),
            "the sign is turned round: the loss is minus the log-likelihood": -each.mean(),
            "that is one loss per sample: Eq. (3) takes their mean": each,
            "that is the mean of p, without its logarithm": p[np.arange(batch), labels].mean(),
        }
        loss = softmax_cross_entropy_forward(logits, labels)
        ok.close(loss, each.mean(), "the loss disagrees with log_softmax of scipy", mistakes=mistakes, name="the loss")
    with law("the loss is finite and right at logits of ±10,000", points=1, after=value) as ok:
        _judge_extreme(ok, softmax_cross_entropy_forward, rng)
    slope = "the gradient agrees with central differences"
    with law(slope, points=1) as ok:
        truth = oracles.central_difference(lambda z: -log_softmax(z, axis=1)[np.arange(batch), labels].mean(), logits)
        elsewhere = np.eye(classes)[(labels + 1) % classes]
        mistakes = {
            "the 1/batch of the mean is missing from the gradient": truth * batch,
            "the 1/batch of the mean is in the gradient twice": truth / batch,
            "the sign is turned round": -truth,
            "the one-hot vector is missing: subtract 1 from p at the label": p / batch,
            "the 1 is subtracted at the wrong class": (p - elsewhere) / batch,
            "the 1 is subtracted in every column: only the label's column loses it": (p - 1) / batch,
        }
        got = softmax_cross_entropy_backward(logits, labels)
        ok.close(got, truth, "central differences disagree", tolerance=1e-7, mistakes=mistakes, name="the gradient")
    with law("every row of the gradient sums to zero, at large logits too", points=1, after=slope) as ok:
        for scale in (1.0, 1e4):
            got = softmax_cross_entropy_backward(scale * logits, labels)
            where = f"at logits near {2 * scale:g}"
            got = ok.array(got, (batch, classes), name=f"the gradient {where}")
            ok.within(got.sum(axis=1), 1e-12, "a constant added to all logits must not change the loss")
            exact = (softmax(scale * logits, axis=1) - one_hot) / batch
            if holds(slope):  # a factor that is missing there is missing here
                ok.close(got, exact, f"the gradient is wrong {where}", name="the gradient")


def _judge_extreme(ok: Expect, forward: Answer, rng: Rng) -> None:
    """Logits of +-10^4, where e^z overflows and a softmax rounds to 0 and 1; also losses of 50 nats and 1e-20."""
    logits = 1e4 * rng.choice([-1.0, 1.0], size=(4, 5))
    logits[:, 0], logits[:, 1] = 1e4, -1e4
    hint = "exp overflows at large logits: subtract the largest logit of each row first"
    for label in (0, 1):
        labels = np.full(4, label)
        truth = -log_softmax(logits, axis=1)[:, label].mean()
        loss = forward(logits, labels)
        ok.true(np.all(np.isfinite(np.asarray(loss, dtype=float))), _overflow_hint(label))
        ok.close(loss, truth, hint, name="the loss")
    steep = np.array([[0.0, 800.0, 0.0]])
    loss = forward(steep, np.array([0]))
    ok.close(
        loss, 800.0, "the logarithm of a softmax that was rounded to 0: take ln of the sum, never of p", name="the loss"
    )


def _overflow_hint(label: int) -> str:
    if label == 0:
        return "exp overflows at large logits: subtract the largest logit of each row first"
    return "the logarithm of a softmax that was rounded to 0: take ln of the sum, never of p"


@exercise(points=4)
def backward(backward: Answer, *, rng: Rng) -> None:
    """Algorithm 1 on any graph: one gradient per node, each node visited once."""
    chain = "a chain of nodes: the chain rule"
    with law(chain, points=0.5) as ok:
        x = graph.variable(rng.normal(size=(3, 2)))
        _judge_graph(ok, backward, graph.sum(graph.sigmoid(graph.tanh(x))), rng)
    with law("x x + x: a node used three times collects all its gradients", points=1) as ok:
        x = graph.variable(rng.normal())
        loss = x * x + x
        tape = graph.Graph.from_node(loss, rng)
        last = _gradients(ok, backward, tape)[_leaf(tape)]
        seen = float(x.value)
        mistakes = {
            "the last child overwrites the others: gradients of a shared node add up": 1.0,
            "the last path overwrites the others: gradients of a shared node add up": seen,
            "one path of x x is lost: a parent listed twice receives twice": seen + 1,
        }
        ok.close(last, 2 * seen + 1, "d(x x + x)/dx = 2 x + 1", mistakes=mistakes, name="the gradient of x")
    with law("a network whose nodes are listed in any order", points=1, after=chain) as ok:
        for _ in range(3):
            _judge_graph(ok, backward, _tangle(rng), rng)
    with law("60 nested diamonds within two seconds", points=1, after=chain) as ok:
        x = node = graph.variable(rng.normal())
        for _ in range(60):
            node = (node + node) * graph.constant(0.5)
        _judge_graph(
            ok, backward, node, rng, slow="every path is walked anew: 2^60 of them; visit each node once, in order"
        )
    with law("a second call gives the same gradients", points=0.5, after=chain) as ok:
        tape = graph.Graph.from_node(_tangle(rng), rng)
        first = _gradients(ok, backward, tape)
        second = _gradients(ok, backward, tape)
        for a, b in zip(first, second, strict=True):
            ok.close(b, a, "the second call adds to the gradients of the first: start from zero each time")


def _tangle(rng: Rng) -> graph.Node:
    """A random small network with shared weights and a skipped layer, ending in one number."""
    x, W = graph.variable(rng.normal(size=(4, 3))), graph.variable(rng.normal(size=(3, 3)))
    b = graph.variable(rng.normal(size=3))
    h = graph.tanh(graph.linear(x, W, b))
    h = graph.sigmoid(graph.linear(h + x, W, b)) * h
    return graph.mean(h * h + graph.softplus(h))


def _leaf(tape: graph.Graph) -> int:
    return next(i for i, parents in enumerate(tape.parents) if not parents)


def _gradients(ok: Expect, backward: Answer, tape: graph.Graph, slow: str = "") -> list[Array]:
    """The answer's gradients, one array per node of the tape, each of that node's shape."""
    try:
        gradients = backward(tape, seconds=2.0)
    except Raised as error:
        if error.kind == "OutOfTime" and slow:
            ok.fail(slow)
        raise
    gradients = ok.many(gradients, len(tape), "one gradient per node")
    return [
        ok.array(g, value.shape, name=f"the gradient of node {i}")
        for i, (g, value) in enumerate(zip(gradients, tape.values, strict=True))
    ]


def _judge_graph(ok: Expect, backward: Answer, loss: graph.Node, rng: Rng, slow: str = "") -> None:
    tape = graph.Graph.from_node(loss, rng)
    truth = graph.backward(tape)
    got = _gradients(ok, backward, tape, slow)
    for i, (mine, exact) in enumerate(zip(got, truth, strict=True)):
        what = f"node {i} ({tape.ops[i]})"
        hint = f"the gradient of {what} is wrong: was every child of it finished before it passed its own gradient on?"
        ok.close(mine, exact, hint)


@exercise(points=3, steady=0.5)
def momentum_step(momentum_step: Answer, *, rng: Rng) -> None:
    """Eqs. (18), (19) with the learning rate in its place: v <- αv - ηg, then θ <- θ + v."""
    theta, velocity, gradient = rng.normal(size=(3, 5))
    rate, alpha = rng.uniform(0.05, 0.2), rng.uniform(0.5, 0.9)
    by_hand = "two steps agree with the formula"
    with law(by_hand, points=1) as ok:
        v, t = velocity, theta
        for _ in range(2):
            got = ok.many(momentum_step(t, v, gradient, rate, alpha), 2, "θ and v")
            new = alpha * v - rate * gradient
            mistakes = {
                "the step goes uphill: the gradient enters v with a minus sign": alpha * v + rate * gradient,
                "v lacks the learning rate: as printed, Eq. (18) has none": alpha * v - gradient,
                "the gradient is scaled by 1 - α: in this form it is not": alpha * v - (1 - alpha) * rate * gradient,
            }
            ok.close(got[1], new, "v is not αv - ηg", mistakes=mistakes, name="v")
            mistakes = {
                "the learning rate is applied twice: once in v, once more in θ": t + rate * new,
                "θ moves against v: θ + v, for v already points downhill": t - new,
                "θ moves by the old v: update v first": t + v,
            }
            ok.close(got[0], t + new, "θ is not θ + v", mistakes=mistakes, name="θ")
            t, v = t + new, new
    with law("α = 0 is gradient descent, Eq. (17)", points=0.5, after=by_hand) as ok:
        got = ok.many(momentum_step(theta, velocity, gradient, rate, 0.0), 2, "θ and v")
        ok.close(got[0], theta - rate * gradient, "without momentum a step is -η times the gradient", name="θ")
    with law("momentum crosses a narrow valley in fewer steps", points=1, after=by_hand) as ok:
        plain, heavy = _steps_to_floor(ok, momentum_step, 0.0), _steps_to_floor(ok, momentum_step, 0.8)
        ok.true(heavy < 0.6 * plain, f"it takes {heavy} steps with α = 0.8 and {plain} without")


def _steps_to_floor(ok: Expect, step: Answer, alpha: float, most: int = 250) -> int:
    """Steps until 1/2 (x^2 + 50 y^2) from (1, 1) falls below 1e-3, learning rate 0.02: 155 plain, 40 with α = 0.8."""
    curvature = np.array([1.0, 50.0])
    theta, velocity = np.ones(2), np.zeros(2)
    for count in range(most):
        if 0.5 * np.sum(curvature * theta**2) < 1e-3:
            return count
        new = ok.many(step(theta, velocity, curvature * theta, 0.02, alpha), 2, "θ and v")
        theta, velocity = ok.array(new[0], (2,), name="θ"), ok.array(new[1], (2,), name="v")
    return most


@exercise(points=3)
def input_gradient(input_gradient: Answer, adversarial: Answer, *, rng: Rng) -> None:
    """Note Exercise 3: the gradient of the loss with respect to the image, and the image that it spoils."""
    images, labels = rng.uniform(-0.7, 1.7, size=(7, 6)).clip(0, 1), rng.integers(4, size=7)  # black, white and grey
    W1, W2, b2 = rng.normal(size=(6, 5)), rng.normal(size=(5, 4)), rng.normal(size=4)
    layers = [(W1, -_inner_gap(images @ W1)), (W2, b2)]  # each ReLU is on for some images, and no image is at its kink
    slope = "the gradient agrees with central differences"
    with law(slope, points=1) as ok:
        truth = oracles.central_difference(lambda x: _mlp_loss(x, labels, layers), images)
        mistakes = {
            "the sign is turned round": -truth,
            "the 1/batch of the mean loss is missing": truth * len(images),
            "that is the gradient of the weights: follow δ one node further, to the input": _first_layer(
                images, labels, layers
            ),
        }
        got = input_gradient(images, labels, layers)
        ok.close(got, truth, "central differences disagree: is the ReLU's slope in?", tolerance=1e-6, mistakes=mistakes)
    with law("the adversarial image moves every pixel by ε uphill, within [0, 1]", points=1, after=slope) as ok:
        uphill = np.sign(oracles.central_difference(lambda x: _mlp_loss(x, labels, layers), images))
        mistakes = {
            "the image moves downhill: the loss should grow": np.clip(images - 0.1 * uphill, 0, 1),
            "pixels leave the range [0, 1]: clip them": images + 0.1 * uphill,
        }
        got = adversarial(images, labels, layers, 0.1)
        hint = "each pixel should move by ε in the direction of its gradient's sign"
        ok.close(got, np.clip(images + 0.1 * uphill, 0, 1), hint, mistakes=mistakes, name="the image")
    with law("on real digits ε = 0.1 breaks a classifier", points=1, after=slope) as ok:
        images, labels, layers = _digit_classifier(rng)
        before = _accuracy(images, labels, layers)
        spoiled = ok.array(adversarial(images, labels, layers, 0.1), images.shape, name="the image")
        ok.within(spoiled - images, 0.1 + 1e-12, "some pixel moves by more than ε")
        after = _accuracy(spoiled, labels, layers)
        ok.true(after < 0.3 * before, f"it still reads {after:.0%} of the digits ({before:.0%} before)")


def _inner_gap(x: Array) -> Array:
    """The middle of each column's widest gap, the outermost values left out."""
    x = np.sort(x, axis=0)[1:-1]
    k = np.diff(x, axis=0).argmax(axis=0)[None]
    return (np.take_along_axis(x, k, axis=0) + np.take_along_axis(x, k + 1, axis=0))[0] / 2


def _mlp_logits(images: Array, layers: Layers) -> Array:
    (W1, b1), (W2, b2) = layers
    return np.maximum(images @ W1 + b1, 0) @ W2 + b2


def _mlp_loss(images: Array, labels: Array, layers: Layers) -> float:
    return float(-log_softmax(_mlp_logits(images, layers), axis=1)[np.arange(len(labels)), labels].mean())


def _accuracy(images: Array, labels: Array, layers: Layers) -> float:
    return float(np.mean(_mlp_logits(images, layers).argmax(axis=1) == labels))


def _first_layer(images: Array, labels: Array, layers: Layers) -> Array:
    """The gradient with respect to W1, which is what one gets by stopping one node too early."""
    (W1, b1), second = layers
    return oracles.central_difference(lambda W: _mlp_loss(images, labels, [(W, b1), second]), W1)


def _digit_classifier(rng: Rng) -> tuple[Array, Array, Layers]:
    """200 test digits and a two-layer network that reads them, fitted in closed form to 3,000 training digits."""
    digits = data.mnist()
    chosen = rng.choice(len(digits.train_labels), 3_000, replace=False)
    x = digits.train_images[chosen].reshape(-1, 784) / 255.0
    target = np.eye(10)[digits.train_labels[chosen]] - 0.1
    A = np.linalg.solve(x.T @ x + 30.0 * np.eye(784), x.T @ target)
    layers = [(np.hstack([A, -A]), np.zeros(20)), (10 * np.vstack([np.eye(10), -np.eye(10)]), np.zeros(10))]
    test = rng.choice(len(digits.test_labels), 200, replace=False)
    return digits.test_images[test].reshape(-1, 784) / 255.0, digits.test_labels[test], layers


@exercise(points=4)
def periodic_conv2d(periodic_conv2d: Answer, conv_output_size: Answer, *, rng: Rng) -> None:
    """Note Exercise 2 and Eq. (2): cross-correlation on a torus, and the size that a convolution leaves."""
    image, kernel = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 3, 3))
    truth = _convolve(image, kernel)
    formula = "it is the cross-correlation of Eq. (2) with periodic padding"
    with law(formula, points=1.5) as ok:
        mistakes = {
            "the kernel is turned round: that is a convolution, Eq. (2) is a cross-correlation": _convolve(
                image, kernel[:, :, ::-1, ::-1]
            ),
            "the border sees zeros: on a torus the left neighbour of the first column is the last": _convolve(
                image, kernel, mode="constant"
            ),
            "height and width are exchanged in the kernel": _convolve(image, kernel.swapaxes(2, 3)),
            "the kernel is not centred: its middle belongs on the pixel": np.roll(truth, (-1, -1), axis=(2, 3)),
            "the border is cut off: on a torus the output is as large as the input": truth[:, :, 1:-1, 1:-1],
        }
        ok.close(periodic_conv2d(image, kernel), truth, "Eq. (2) summed term by term disagrees", mistakes=mistakes)
        square, wide = rng.normal(size=(1, 3, 4, 4)), rng.normal(size=(3, 3, 3, 3))
        swapped = {
            "the channel axes are exchanged: the kernel is (out, in, ...)": _convolve(square, wide.swapaxes(0, 1))
        }
        ok.close(periodic_conv2d(square, wide), _convolve(square, wide), "Eq. (2) disagrees", mistakes=swapped)
    with law("a shifted image gives a shifted output", points=0.5, after=formula) as ok:
        shift = tuple(int(s) for s in rng.integers(1, 5, size=2))
        moved = periodic_conv2d(np.roll(image, shift, axis=(2, 3)), kernel)
        ok.close(moved, np.roll(truth, shift, axis=(2, 3)), "a translation of the torus should commute with the kernel")
    with law("a 1 x 1 kernel is a matrix product over the channels", points=0.5, after=formula) as ok:
        point = rng.normal(size=(4, 3, 1, 1))
        ok.close(periodic_conv2d(image, point), np.einsum("oc,bcij->boij", point[:, :, 0, 0], image), "it should be")
    with law("conv_output_size for padding, dilation and stride", points=1.5) as ok:
        for most in ((1, 3, 1), (1, 3, 4), (4, 3, 4)):
            for _ in range(12):
                _judge_size(ok, conv_output_size, most, rng)


def _convolve(image: Array, kernel: Array, mode: str = "wrap") -> Array:
    """Eq. (2), one kernel element at a time: a sum of shifted images."""
    height, width = kernel.shape[2:]
    padded = np.pad(image, [(0, 0), (0, 0), (height // 2, height // 2), (width // 2, width // 2)], mode=mode)
    out = 0.0
    for m in range(height):
        for n in range(width):
            window = padded[:, :, m : m + image.shape[2], n : n + image.shape[3]]
            out = out + np.einsum("bcij,oc->boij", window, kernel[:, :, m, n])
    return out


def _judge_size(ok: Expect, conv_output_size: Answer, most: tuple[int, int, int], rng: Rng) -> None:
    """Compare with counting the places where the dilated kernel starts; `most` bounds stride, padding and dilation."""
    stride, padding, dilation = (int(rng.integers(min(2, high), high + 1)) for high in most)
    kernel = int(rng.integers(2, 5))
    span = dilation * (kernel - 1) + 1
    size = span + int(rng.integers(3, 12))
    count = len(range(0, size + 2 * padding - span + 1, stride))
    case = f"size {size}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}"
    mistakes = {"the last place is missed: + 1": count - 1}
    if dilation == stride == 1:
        mistakes["the padding counts on both sides"] = count - padding
    elif stride == 1:
        mistakes["the dilation stretches the kernel: it spans d (k - 1) + 1"] = size + 2 * padding - kernel + 1
    else:
        rounded_up = -((span - size - 2 * padding) // stride) + 1
        mistakes["the division rounds up: a kernel that sticks out does not count"] = rounded_up
    ok.close(conv_output_size(size, kernel, stride, padding, dilation), count, f"wrong for {case}", mistakes=mistakes)
