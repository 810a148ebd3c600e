"""Networks on the graph: build, train with minibatches and momentum (note Algorithm 2), read, and fool."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helpers.training import progress, setting

from . import nodes
from .formulas import momentum_step
from .nodes import Node, constant, variable
from .operations import Array

Labels = NDArray[np.integer]
Layers = Sequence[tuple[Array, Array]]  # (W (in, out), b (out,)) of each layer, first to last


class Recipe(NamedTuple):
    """How to train: layer sizes, epochs, batch size, first learning rate and momentum alpha."""

    sizes: tuple[int, ...]
    epochs: int
    batch_size: int = 100
    learning_rate: float = 0.1
    alpha: float = 0.9


class Run(NamedTuple):
    """What training leaves: the layers, and per epoch the training loss, test loss (nats) and test accuracy."""

    layers: Layers
    training_loss: Array
    test_loss: Array
    test_accuracy: Array


def softmax_regression_recipe(profile: str) -> Recipe:
    """One linear layer on MNIST: convex, so a large step that is slowly cooled reaches its best, 92 to 93 %."""
    return setting(profile, Recipe((784, 10), 1), Recipe((784, 10), 10), Recipe((784, 10), 50))


def mlp_recipe(profile: str) -> Recipe:
    """One hidden ReLU layer on MNIST: 98 % and more."""
    return setting(profile, Recipe((784, 64, 10), 1), Recipe((784, 256, 10), 10), Recipe((784, 1024, 10), 40))


def pixels(images: NDArray) -> Array:
    """Images (count, 28, 28) of bytes 0..255 as float32 rows (count, 784) in [0, 1]."""
    if images.dtype != np.uint8:
        raise TypeError(f"pixels needs images of bytes (uint8), got {images.dtype}")
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def initial_layers(sizes: Sequence[int], generator: np.random.Generator, dtype: type = np.float32) -> Layers:
    """Random layers for ReLU: W ~ N(0, 2 / in), so that signals keep their size from layer to layer; b = 0."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"a network needs at least an input and an output size, got {tuple(sizes)}")
    return [
        ((generator.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(dtype), np.zeros(fan_out, dtype))
        for fan_in, fan_out in pairwise(sizes)
    ]


def network(images: Node, layers: Sequence[tuple[Node, Node]]) -> Node:
    """Logits (batch, classes) of a network of linear layers with ReLU between them."""
    x = images
    for i, (W, b) in enumerate(layers):
        x = nodes.linear(nodes.relu(x) if i else x, W, b)
    return x


def loss_and_gradients(images: Array, labels: Labels, layers: Layers) -> tuple[float, Layers]:
    """Mean cross entropy of a batch and its gradients, in the shape of `layers`; one forward and one backward walk."""
    variables = [(variable(W), variable(b)) for W, b in layers]
    loss = nodes.softmax_cross_entropy(network(constant(images), variables), labels)
    loss.backward()
    return float(loss.value), [(W.grad, b.grad) for W, b in variables]


def input_gradient(images: Array, labels: Labels, layers: Layers) -> Array:
    """Gradient of the mean cross entropy with respect to the images (note Exercise 3), shape (batch, pixels)."""
    x = variable(images)
    layers = [(constant(W), constant(b)) for W, b in layers]
    nodes.softmax_cross_entropy(network(x, layers), labels).backward()
    return x.grad


def adversarial(images: Array, labels: Labels, layers: Layers, epsilon: float) -> Array:
    """Fast gradient sign: each pixel moves by epsilon the way the loss grows, within [0, 1] (arXiv:1412.6572)."""
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be >= 0, got {epsilon}")
    if not (np.min(images) >= 0 and np.max(images) <= 1):
        raise ValueError(f"pixels must lie in [0, 1], got {np.min(images):.3g} to {np.max(images):.3g}")
    gradient = input_gradient(images, labels, layers)
    return np.clip(images + gradient.dtype.type(epsilon) * np.sign(gradient), 0, 1)


def predict(images: Array, layers: Layers) -> NDArray[np.intp]:
    """The class that the network finds most probable, shape (batch,)."""
    return _frozen(images, layers).value.argmax(axis=1)


def evaluate(images: Array, labels: Labels, layers: Layers) -> tuple[float, float]:
    """Mean cross entropy (nats) and accuracy on images (count, pixels)."""
    logits = _frozen(images, layers)
    loss = nodes.softmax_cross_entropy(logits, labels)
    return float(loss.value), float((logits.value.argmax(axis=1) == labels).mean())


def _frozen(images: Array, layers: Layers) -> Node:
    """Logits of a network that nobody differentiates."""
    return network(constant(images), [(constant(W), constant(b)) for W, b in layers])


def batches(
    images: Array, labels: Labels, batch_size: int, generator: np.random.Generator
) -> Iterator[tuple[Array, Labels]]:
    """Batches that visit every image once, in a random order; a last incomplete batch is left out."""
    order = generator.permutation(len(images))
    for start in range(0, len(images) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield images[chosen], labels[chosen]


def train(
    recipe: Recipe,
    images: Array,
    labels: Labels,
    test_images: Array,
    test_labels: Labels,
    generator: np.random.Generator,
) -> Run:
    """Minibatch descent with momentum (note Algorithm 2) in the dtype of the images, (count, pixels).

    The learning rate falls along half a cosine to zero: at a fixed rate the noise of the batches keeps the weights
    shaking around the minimum, and cooling lets them settle.
    """
    if len(images) != len(labels) or len(images) < recipe.batch_size or images.shape[1:] != recipe.sizes[:1]:
        raise ValueError(
            f"need images (count, {recipe.sizes[0]}), labels (count,), count >= the batch size {recipe.batch_size}, "
            f"got {images.shape} and {labels.shape}"
        )
    layers = initial_layers(recipe.sizes, generator, images.dtype.type)
    velocities = [(np.zeros_like(W), np.zeros_like(b)) for W, b in layers]
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    rates = recipe.learning_rate * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    history, rate = [], iter(rates.tolist())
    for _ in (bar := progress(range(recipe.epochs), "epochs")):
        total = 0.0
        for batch in batches(images, labels, recipe.batch_size, generator):
            loss, gradients = loss_and_gradients(*batch, layers)
            layers, velocities = descend(layers, velocities, gradients, next(rate), recipe.alpha)
            total += loss
        history.append((total * recipe.epochs / steps, *evaluate(test_images, test_labels, layers)))
        bar.set_postfix(test_accuracy=f"{history[-1][2]:.4f}")
    return Run(layers, *np.array(history).T)


def descend(
    layers: Layers, velocities: Layers, gradients: Layers, learning_rate: float, alpha: float
) -> tuple[Layers, Layers]:
    """One momentum step on every weight matrix and bias: returns new layers and velocities."""
    steps = [
        [momentum_step(theta, v, gradient, learning_rate, alpha) for theta, v, gradient in zip(*layer, strict=True)]
        for layer in zip(layers, velocities, gradients, strict=True)
    ]
    return [(W, b) for (W, _), (b, _) in steps], [(vW, vb) for (_, vW), (_, vb) in steps]
