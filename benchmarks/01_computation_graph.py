"""An epoch of MNIST (60,000 digits, batch 100, momentum, float32, one thread): helpers.graph against its rivals.

Rivals: the same training written out by hand in numpy, and PyTorch with indexed batches and with a DataLoader.
CPU seconds of this process; the contestants take turns and the median of `ROUNDS` epochs counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.record import Row, save, table
from helpers import data, graph

ROUNDS, BATCH, RATE, ALPHA = 7, 100, 0.05, 0.9
NETWORKS = {"softmax 784-10": (784, 10), "MLP 784-100-10": (784, 100, 10), "MLP 784-256-10": (784, 256, 10)}
TARGETS = {"numpy by hand": "<= 1.3", "torch, DataLoader": "< 1"}
Epoch = Callable[[], float]


def ours(layers: graph.Layers, images: np.ndarray, labels: np.ndarray) -> Epoch:
    """One epoch of helpers.graph from fresh weights; returns the mean training loss."""

    def epoch() -> float:
        theta, velocity, total = layers, [(0 * W, 0 * b) for W, b in layers], 0.0
        for batch in graph.batches(images, labels, BATCH, np.random.default_rng(1)):
            loss, gradients = graph.loss_and_gradients(*batch, theta)
            theta, velocity = graph.descend(theta, velocity, gradients, RATE, ALPHA)
            total += loss
        return total * BATCH / len(images)

    return epoch


def by_hand(layers: graph.Layers, images: np.ndarray, labels: np.ndarray) -> Epoch:
    """The same epoch with every derivative written out for this network: no graph, no nodes."""

    def epoch() -> float:
        theta = [array.copy() for layer in layers for array in layer]
        velocity, total = [np.zeros_like(array) for array in theta], 0.0
        order = np.random.default_rng(1).permutation(len(images))
        for start in range(0, len(images), BATCH):
            chosen = order[start : start + BATCH]
            loss, gradients = hand_gradients(images[chosen], labels[chosen], theta)
            for k, gradient in enumerate(gradients):
                velocity[k] = ALPHA * velocity[k] - RATE * gradient
                theta[k] = theta[k] + velocity[k]
            total += loss
        return total * BATCH / len(images)

    return epoch


def hand_gradients(x: np.ndarray, labels: np.ndarray, theta: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of softmax regression (W, b) or of a network with one hidden layer (W1, b1, W2, b2)."""
    hidden = x if len(theta) == 2 else np.maximum(x @ theta[0] + theta[1], 0)
    logits = hidden @ theta[-2] + theta[-1]
    logits = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    norm = p.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    loss = float((np.log(norm[:, 0]) - logits[rows, labels]).mean())
    p /= norm
    p[rows, labels] -= 1
    p /= len(x)
    if len(theta) == 2:
        return loss, [x.T @ p, p.sum(axis=0)]
    delta = (p @ theta[2].T) * (hidden > 0)
    return loss, [x.T @ delta, delta.sum(axis=0), hidden.T @ p, p.sum(axis=0)]


def with_torch(layers: graph.Layers, images: np.ndarray, labels: np.ndarray, loader: bool) -> Epoch:
    """The same epoch in PyTorch: torch.nn, torch.optim.SGD, batches by index or through a DataLoader."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    batches = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)

    def indexed() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return ((x[chosen], y[chosen]) for chosen in torch.randperm(len(x)).split(BATCH))

    def epoch() -> float:
        modules = []
        for W, b in layers:
            modules += [torch.nn.Linear(*W.shape), torch.nn.ReLU()]
            modules[-2].weight.data, modules[-2].bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
        model = torch.nn.Sequential(*modules[:-1])
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=ALPHA)
        total = 0.0
        for images, labels in batches if loader else indexed():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total * BATCH / len(x)

    return epoch


def measure(contestants: dict[str, Epoch]) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds and last training loss of each contestant, taken in turns after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    losses: dict[str, float] = {}
    for _ in range(1 + ROUNDS):
        for name, epoch in contestants.items():
            start = time.process_time()
            losses[name] = epoch()
            seconds[name].append(time.process_time() - start)
    return {name: median(times[1:]) for name, times in seconds.items()}, losses


def main() -> None:
    """Race on every network and write the table."""
    torch.set_num_threads(1)
    mnist = data.mnist()
    images, labels = graph.pixels(mnist.train_images), mnist.train_labels
    lines, rows = [], []
    for network, sizes in NETWORKS.items():
        layers = graph.initial_layers(sizes, np.random.default_rng(0))
        contestants = {
            "helpers.graph": ours(layers, images, labels),
            "numpy by hand": by_hand(layers, images, labels),
            "torch, indexed": with_torch(layers, images, labels, loader=False),
            "torch, DataLoader": with_torch(layers, images, labels, loader=True),
        }
        seconds, losses = measure(contestants)
        if abs(losses["helpers.graph"] - losses["numpy by hand"]) > 1e-3:
            raise SystemExit(f"the graph and the hand-written code train differently: {losses}")
        shown = {name: f"{taken:.3f}" for name, taken in seconds.items()}
        lines += [(network, name, shown[name], f"{losses[name]:.4f}") for name in shown]
        what, mine = f"{network}, CPU s an epoch", shown.pop("helpers.graph")
        rows += [Row(what, mine, name, theirs, TARGETS.get(name, "")) for name, theirs in shown.items()]
    head = "| network | contestant | CPU s an epoch | mean training loss |"
    about = f"An epoch of MNIST: batch {BATCH}, float32, one thread."
    save("01_computation_graph", [about, "", *table(head, lines)], rows)


if __name__ == "__main__":
    main()
