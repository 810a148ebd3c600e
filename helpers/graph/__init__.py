"""Chapter 01: a define-by-run computation graph in plain numpy, from single formulas to trained networks.

    operations   each operation on arrays: its value and its vector-Jacobian products
    nodes        the live graph: Node, variable, constant, linear, relu, ...; `node.backward()`
    tape         the same graph as plain data: Graph, and backward(graph) -> gradients
    formulas     what the exercises ask for: parity_network, linear_backward, momentum_step, periodic_conv2d, ...
    networks     softmax regression and MLP on MNIST: train, test, input_gradient, adversarial
    throughput   matrix products per second on CPU and GPU

>>> from helpers import graph
>>> x = graph.variable(3.0)
>>> (x * x + x).backward()
>>> float(x.grad)
7.0
"""

from .formulas import (
    conv_output_size,
    linear_backward,
    momentum_step,
    parity_network,
    periodic_conv2d,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from .networks import (
    Layers,
    Recipe,
    Run,
    adversarial,
    batches,
    descend,
    evaluate,
    initial_layers,
    input_gradient,
    loss_and_gradients,
    mlp_recipe,
    network,
    pixels,
    predict,
    softmax_regression_recipe,
    train,
)
from .nodes import (
    Node,
    add,
    constant,
    cross_entropy,
    divide,
    exp,
    linear,
    log,
    matmul,
    mean,
    multiply,
    power,
    relu,
    sigmoid,
    softmax,
    softmax_cross_entropy,
    softplus,
    subtract,
    sum,
    tanh,
    variable,
)
from .tape import Graph, backward
from .throughput import matmul_throughput

# Exercise -> where its answer, or what computes the same, is defined or imported in this package.
_PLACES = {
    "parity_network": "formulas.parity_network",
    "linear_backward": "formulas.linear_backward operations.linear nodes.Node.backward tape.backward tape.Graph.vjp",
    "softmax_cross_entropy": "formulas.softmax_cross_entropy_forward formulas.softmax_cross_entropy_backward "
    "nodes.softmax_cross_entropy operations.softmax_cross_entropy nodes.cross_entropy operations.cross_entropy "
    "nodes.Node.backward tape.backward tape.Graph.vjp",
    "backward": "tape.backward nodes.Node.backward nodes.topological_order tape.topological_order",
    "momentum_step": "formulas.momentum_step networks.momentum_step networks.descend",
    "input_gradient": "networks.input_gradient networks.adversarial",
    "periodic_conv2d": "formulas.periodic_conv2d formulas.conv_output_size",
}
# Exercise -> the helpers names that the grader hides while it grades that exercise.
ANSWERS: dict[str, tuple[str, ...]] = {
    exercise: tuple(f"graph.{place}" for place in places.split())
    + tuple(
        f"graph.{name}" for name in dict.fromkeys(p.rpartition(".")[2] for p in places.split()) if name in globals()
    )
    for exercise, places in _PLACES.items()
}
