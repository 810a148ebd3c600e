"""Laws of helpers.graph: PyTorch and finite differences are the oracles, brute force where the problem is small."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers import data, graph, oracles
from helpers.checks import wire
from helpers.figures import computation_graph as figures
from helpers.graph import operations

F = torch.nn.functional
LABELS = np.array([2, 0, 1, 2])
PAIR = ((4, 3), (4, 3))

# One line per case: the operation on nodes, the same in torch, and the shapes of the arguments.
CASES = {
    "add": (graph.add, torch.add, PAIR),
    "add a row": (graph.add, torch.add, ((4, 3), (3,))),
    "add a number": (lambda x: 2.5 + x, lambda x: 2.5 + x, ((4, 3),)),
    "subtract": (graph.subtract, torch.sub, ((4, 1), (1, 3))),
    "subtract from a number": (lambda x: 1 - x, lambda x: 1 - x, ((2, 3),)),
    "negate": (lambda x: -x, torch.neg, ((2, 3),)),
    "multiply": (graph.multiply, torch.mul, ((4, 3), (4, 1))),
    "multiply by an array": (lambda x: np.arange(3.0) * x, lambda x: torch.arange(3.0, dtype=x.dtype) * x, ((4, 3),)),
    "multiply a node by itself": (lambda x: x * x, torch.square, ((4, 3),)),
    "divide": (graph.divide, torch.div, ((3,), (4, 3))),
    "divide a number": (lambda x: 2 / x, lambda x: 2 / x, ((4, 3),)),
    "matmul": (graph.matmul, torch.matmul, ((4, 3), (3, 2))),
    "matmul by an array": (lambda x: np.ones((2, 4)) @ x, lambda x: torch.ones(2, 4, dtype=x.dtype) @ x, ((4, 3),)),
    "linear": (graph.linear, lambda x, W, b: F.linear(x, W.T, b), ((4, 3), (3, 5), (5,))),
    "power": (lambda x: x**3, lambda x: x**3, ((4, 3),)),
    "power zero": (lambda x: x**0, lambda x: x**0, ((4, 3),)),
    "exp": (graph.exp, torch.exp, ((4, 3),)),
    "log": (lambda x: graph.log(x * x + 1), lambda x: torch.log(x * x + 1), ((4, 3),)),
    "sigmoid": (graph.sigmoid, torch.sigmoid, ((4, 3),)),
    "tanh": (graph.tanh, torch.tanh, ((4, 3),)),
    "relu": (graph.relu, torch.relu, ((4, 3),)),
    "softplus": (graph.softplus, F.softplus, ((4, 3),)),
    "sum": (graph.sum, torch.sum, ((4, 3),)),
    "sum over an axis": (lambda x: graph.sum(x, axis=0), lambda x: x.sum(0), ((4, 3),)),
    "mean": (graph.mean, torch.mean, ((4, 3),)),
    "mean over an axis": (lambda x: graph.mean(x, axis=-1), lambda x: x.mean(-1), ((4, 3),)),
    "softmax": (graph.softmax, lambda x: x.softmax(-1), ((4, 3),)),
    "cross_entropy": (
        lambda x: graph.cross_entropy(graph.softmax(x), LABELS),
        lambda x: F.nll_loss(x.softmax(1).log(), torch.tensor(LABELS)),
        ((4, 3),),
    ),
    "softmax_cross_entropy": (
        lambda x: graph.softmax_cross_entropy(x, LABELS),
        lambda x: F.cross_entropy(x, torch.tensor(LABELS)),
        ((4, 3),),
    ),
}


@pytest.fixture
def rng():
    return np.random.default_rng()


def differentiated(build, arrays, upstream):
    leaves = [graph.variable(array) for array in arrays]
    node = build(*leaves)
    node.backward(upstream)
    return node.value, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_every_operation_agrees_with_torch(name, dtype, rng):
    build, build_torch, shapes = CASES[name]
    arrays = [(rng.uniform(0.3, 2, shape) * rng.choice([-1, 1], shape)).astype(dtype) for shape in shapes]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = build_torch(*tensors)
    upstream = np.asarray(rng.normal(size=tuple(expected.shape)), dtype=dtype)
    expected.backward(torch.tensor(upstream))
    value, gradients = differentiated(build, arrays, upstream)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    for mine, theirs in [(value, expected), *zip(gradients, [t.grad for t in tensors], strict=True)]:
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_every_operation_has_a_case():
    used = {node for build, _, shapes in CASES.values() for node in ops(build(*[leaf(shape) for shape in shapes]))}
    assert used == set(operations.OPERATIONS) | {"variable", "constant"}


def leaf(shape):
    return graph.variable(np.ones(shape))


def ops(node):
    return graph.Graph.from_node(node).ops


@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 3), (5, 8, 6, 4, 3)])
def test_a_random_mlp_agrees_with_torch(sizes, rng):
    layers = graph.initial_layers(sizes, rng, np.float64)
    images, labels = rng.normal(size=(9, 5)), rng.integers(3, size=9)
    x, *tensors = [torch.tensor(a, requires_grad=True) for a in (images, *(a for layer in layers for a in layer))]
    y = x
    for i in range(0, len(tensors), 2):
        y = (y.relu() if i else y) @ tensors[i] + tensors[i + 1]
    expected = F.cross_entropy(y, torch.tensor(labels))
    expected.backward()
    loss, gradients = graph.loss_and_gradients(images, labels, layers)
    assert abs(loss - expected.item()) < 1e-10
    for mine, theirs in zip([g for layer in gradients for g in layer], tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(graph.input_gradient(images, labels, layers), x.grad.numpy(), rtol=0, atol=1e-10)


# ---------------------------------------------------------------------------------------------- walking the graph


def test_gradients_of_a_shared_node_add_up():
    x = graph.variable(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_the_cost_is_linear_in_sixty_nested_diamonds_and_a_long_chain():
    x = node = graph.variable(2.0)
    for _ in range(60):
        node = 0.5 * node + 0.5 * node
    node.backward()
    assert x.grad == 1.0
    tape = graph.Graph.from_node(node, np.random.default_rng())
    assert graph.backward(tape)[tape.ops.index("variable")] == 1.0
    for _ in range(20_000):
        node = node + 1e-3
    node.backward()
    assert x.grad == 1.0


def test_a_second_call_forgets_the_first(rng):
    x = graph.variable(rng.normal(size=3))
    y = graph.sum(x * x)
    y.backward()
    first = x.grad.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad, first)
    graph.sum(3.0 * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(3, 3.0))


def test_no_two_gradients_share_memory(rng):
    x, y = graph.variable(rng.normal(size=3)), graph.variable(rng.normal(size=3))
    graph.sum(x + y).backward()
    assert not np.shares_memory(x.grad, y.grad)


def test_constants_get_no_gradient_and_cost_no_work(rng):
    x, W, b = graph.constant(rng.normal(size=(2, 3))), leaf((3, 4)), leaf((4,))
    node = graph.linear(x, W, b)
    assert [parent for parent, _ in node.edges] == [W, b]
    graph.mean(node).backward()
    assert x.grad is None
    assert W.grad.shape == (3, 4)


def test_a_float32_graph_stays_float32(rng):
    x = graph.variable(rng.normal(size=(2, 3)).astype(np.float32))
    y = graph.mean(2 * graph.sigmoid(x) ** 2 / 3 - 1)
    y.backward()
    assert y.value.dtype == x.grad.dtype == np.float32


def test_the_fused_node_equals_the_composed_ones_and_survives_large_logits(rng):
    logits = graph.variable(rng.normal(size=(4, 3)))
    composed = graph.cross_entropy(graph.softmax(logits), LABELS)
    composed.backward()
    slow = logits.grad
    fused = graph.softmax_cross_entropy(logits, LABELS)
    fused.backward()
    np.testing.assert_allclose(logits.grad, slow, atol=1e-14)
    assert abs(fused.value - composed.value) < 1e-14
    large = graph.variable(1e4 * np.eye(3)[[0, 1, 2, 0]])
    graph.softmax_cross_entropy(large, LABELS).backward()
    assert np.isfinite(large.grad).all()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: x.backward(), "one number"),
        (lambda x: graph.sum(x).backward(np.ones(2)), "upstream has shape"),
        (lambda x: graph.variable(np.ones(3, dtype=np.float32)) + x, "mixes"),
        (lambda x: graph.linear(x, x, x), "linear"),
        (lambda x: x + graph.variable(np.ones((5, 7))), "add does not fit"),
        (lambda x: graph.softmax_cross_entropy(x, LABELS + 1), "integers from 0 to 2"),
        (lambda x: graph.softmax_cross_entropy(x, LABELS - 1), "integers from 0 to 2"),
        (lambda x: graph.softmax_cross_entropy(x, LABELS[:2]), "4 integers"),
        (lambda x: graph.cross_entropy(x, LABELS.astype(float)), "labels must be integers"),
        (lambda x: graph.variable(1j), "real numbers"),
        (lambda x: graph.variable("three"), "real numbers"),
        (lambda x: x**x, "exponent"),
        (lambda x: bool(x), "truth value"),
        (lambda x: graph.sum(x, axis=4), "axis 4"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(mistake, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mistake(leaf((4, 3)))


# -------------------------------------------------------------------------------------------- the graph as plain data


def tangle(rng):
    x, W, b = graph.variable(rng.normal(size=(4, 3)), "x"), leaf((3, 3)), graph.variable(rng.normal(size=3))
    h = graph.tanh(graph.linear(x, W, b))
    h = graph.softplus(graph.linear(h, W, b) + x) * h / 2
    return graph.softmax_cross_entropy(h, LABELS) + graph.mean(h**2) + graph.sum(graph.sum(h, axis=0)), (x, W, b)


def test_backward_on_the_list_agrees_with_the_live_graph_in_any_order(rng):
    loss, leaves = tangle(rng)
    loss.backward()
    for generator in (None, rng, rng):
        tape = graph.Graph.from_node(loss, generator)
        gradients = graph.backward(tape)
        for node in leaves:
            i = next(i for i, value in enumerate(tape.values) if value is node.value)
            np.testing.assert_allclose(gradients[i], node.grad, rtol=1e-13)
        assert all(g.shape == v.shape for g, v in zip(gradients, tape.values, strict=True))


def test_a_graph_survives_the_boundary(rng):
    tape = graph.Graph.from_node(tangle(rng)[0], rng)
    copy = wire.decode(wire.encode(tape))
    assert (copy.ops, copy.names, copy.parents, copy.output) == (tape.ops, tape.names, tape.parents, tape.output)
    for mine, theirs in zip(graph.backward(copy), graph.backward(tape), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_nodes_beside_the_path_to_the_output_get_zeros(rng):
    plain = graph.Graph.from_node(tangle(rng)[0]).to_plain()
    plain["nodes"].append({"op": "variable", "name": "alone", "value": np.ones(2)})
    np.testing.assert_array_equal(graph.backward(graph.Graph.from_plain(plain))[-1], np.zeros(2))


X = {"op": "variable", "name": "x", "value": np.ones(2)}


def op(name, *parents, **settings):
    return {"op": name, "name": "", "parents": list(parents), "settings": settings}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "list of 1 to"),
        ("abc", "list of 1 to"),
        ([{"op": "variable"}], "real numbers"),
        ([{"op": "variable", "value": "x"}], "real numbers"),
        ([{"op": 3}], "string op"),
        ([X, op("eval", 0)], "unknown op"),
        ([X, op("__class__", 0)], "unknown op"),
        ([X, op("add", 0)], "2 parents"),
        ([X, op("add", 0, 7)], "must lie in"),
        ([X, op("add", 0, 1.0)], "must be an integer"),
        ([X, op("add", 0, True)], "must be an integer"),
        ([X, op("add", 0, 0, out=1)], "settings"),
        ([X, op("power", 0)], "settings"),
        ([X, op("power", 0, exponent="2")], "exponent cannot be"),
        ([X, op("power", 0, exponent=10**400)], "node 1 .power. cannot be evaluated"),
        ([X, op("sum", 0, axis=5)], "node 1 .sum. cannot be evaluated"),
        ([X, op("softmax_cross_entropy", 0, labels=np.array([0]))], "node 1 .softmax_cross_entropy. cannot"),
        ([X, op("softmax_cross_entropy", 0, labels=[0])], "integer array"),
        ([X, op("add", 0, 2), op("exp", 1)], "depends on itself"),
        ([X, op("exp", 1)], "depends on itself"),
        ([X, {"op": "variable", "value": np.ones(3)}, op("add", 0, 1)], "node 2 .add. cannot be evaluated"),
        ([X, {"op": "variable", "value": np.ones(2, np.float32)}, op("add", 0, 1)], "float32 meets float64"),
        (
            [
                {"op": "variable", "value": np.ones((10**4, 1))},
                {"op": "variable", "value": np.ones(10**4)},
                op("add", 0, 1),
            ],
            "more than",
        ),
    ],
)
def test_a_malformed_graph_is_refused_by_name(nodes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        graph.Graph.from_plain({"nodes": nodes, "output": 0})


@pytest.mark.parametrize(
    "tree", [None, [], {"nodes": [X]}, {"nodes": [X], "output": -1}, {"nodes": [X], "output": "0"}]
)
def test_a_tree_that_is_no_graph_is_refused(tree):
    with pytest.raises((ValueError, TypeError), match=r"plain graph|output must"):
        graph.Graph.from_plain(tree)


# ---------------------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("n", range(1, 11))
def test_the_parity_network_is_right_on_all_inputs(n):
    W1, b1, w2, b2 = graph.parity_network(n)
    bits = oracles.bit_strings(n)
    odd = (bits @ W1.T + b1 > 0) @ w2 + b2 > 0
    np.testing.assert_array_equal(odd, bits.sum(axis=1) % 2 == 1)
    assert len(b1) <= n + 1


def test_linear_backward_agrees_with_differences(rng):
    x, W, b, delta = (rng.normal(size=shape) for shape in ((5, 3), (3, 4), (4,), (5, 4)))
    dx, dW, db = graph.linear_backward(x, W, delta)
    for mine, f, at in (
        (dx, lambda x: np.sum((x @ W + b) * delta), x),
        (dW, lambda W: np.sum((x @ W + b) * delta), W),
        (db, lambda b: np.sum((x @ W + b) * delta), b),
    ):
        np.testing.assert_allclose(mine, oracles.central_difference(f, at), atol=1e-7)


def test_softmax_cross_entropy_is_exact_at_extreme_logits(rng):
    logits = np.array([[1e4, -1e4, 0.0]])
    assert graph.softmax_cross_entropy_forward(logits, np.array([0])) == 0.0
    assert graph.softmax_cross_entropy_forward(logits, np.array([1])) == 2e4
    np.testing.assert_array_equal(graph.softmax_cross_entropy_backward(logits, np.array([1])), [[1.0, -1.0, 0.0]])
    logits = rng.normal(size=(4, 3))
    gradient = graph.softmax_cross_entropy_backward(logits, LABELS)
    exact = oracles.central_difference(lambda z: graph.softmax_cross_entropy_forward(z, LABELS), logits)
    np.testing.assert_allclose(gradient, exact, atol=1e-9)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("function", [graph.softmax_cross_entropy_forward, graph.softmax_cross_entropy_backward])
@pytest.mark.parametrize(
    ("shape", "labels"),
    [((4, 3), LABELS - 1), ((4, 3), LABELS + 1), ((4, 3), LABELS[:2]), ((4, 3), LABELS / 2), ((4,), LABELS)],
)
def test_softmax_cross_entropy_refuses_labels_that_name_no_class(function, shape, labels):
    with pytest.raises(ValueError, match=r"labels must be 4 integers from 0 to 2|shape \(batch, classes\)"):
        function(np.ones(shape), labels)


def test_momentum_zero_is_gradient_descent_and_arguments_stay(rng):
    theta, velocity, gradient = rng.normal(size=(3, 4))
    before = theta.copy(), velocity.copy(), gradient.copy()
    new, v = graph.momentum_step(theta, velocity, gradient, 0.1, 0.0)
    np.testing.assert_allclose(new, theta - 0.1 * gradient)
    np.testing.assert_allclose(graph.momentum_step(new, v, gradient, 0.1, 0.5)[0], new + 0.5 * v - 0.1 * gradient)
    for old, now in zip(before, (theta, velocity, gradient), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 3), (2, 4), (7, 1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_periodic_convolution_equals_circular_padding(size, dtype, rng):
    image, kernel = rng.normal(size=(2, 3, 6, 8)).astype(dtype), rng.normal(size=(4, 3, *size)).astype(dtype)
    layer = torch.nn.Conv2d(3, 4, size, padding="same", padding_mode="circular", bias=False)
    layer.weight.data = torch.tensor(kernel)
    mine = graph.periodic_conv2d(image, kernel)
    assert mine.dtype == dtype
    np.testing.assert_allclose(mine, layer(torch.tensor(image)).detach(), atol=1e-12 if dtype == np.float64 else 1e-4)


def test_a_kernel_may_wrap_round_the_torus_more_than_once(rng):
    image, kernel = rng.normal(size=(1, 1, 2, 3)), rng.normal(size=(1, 1, 9, 7))
    expected = sum(kernel[0, 0, m, n] * np.roll(image, (4 - m, 3 - n), axis=(2, 3)) for m in range(9) for n in range(7))
    np.testing.assert_allclose(graph.periodic_conv2d(image, kernel), expected, atol=1e-12)


def test_conv_output_size_agrees_with_torch(rng):
    for _ in range(50):
        kernel, stride, padding, dilation = (int(rng.integers(1, 5)) for _ in range(4))
        size = dilation * (kernel - 1) + 1 + int(rng.integers(0, 9))
        signal = torch.ones(1, 1, size)
        expected = F.conv1d(signal, torch.ones(1, 1, kernel), None, stride, padding, dilation).shape[-1]
        assert graph.conv_output_size(size, kernel, stride, padding, dilation) == expected


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: graph.parity_network(0), "n >= 1"),
        (lambda: graph.linear_backward(np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))), "got"),
        (lambda: graph.periodic_conv2d(np.ones((4, 4)), np.ones((3, 3))), "batch, cin"),
        (lambda: graph.conv_output_size(2, 5), "does not fit"),
        (lambda: graph.conv_output_size(5, 2, stride=0), ">= 1"),
        (lambda: graph.pixels(np.ones((2, 28, 28))), "uint8"),
        (lambda: graph.initial_layers((3,), np.random.default_rng()), "input and an output"),
        (lambda: graph.matmul_throughput([]), "sizes"),
        (lambda: graph.adversarial(np.ones((1, 2)), np.array([0]), [(np.ones((2, 2)), np.ones(2))], -0.1), "epsilon"),
        (lambda: graph.train(graph.Recipe((4, 2), 1), np.ones((50, 4)), LABELS, None, None, None), "batch"),
    ],
)
def test_a_formula_given_nonsense_says_so(mistake, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mistake()


# ------------------------------------------------------------------------------------------------------ networks


@pytest.fixture(scope="module")
def digits():
    mnist = data.mnist()
    return (
        graph.pixels(mnist.train_images[:6000]),
        mnist.train_labels[:6000],
        graph.pixels(mnist.test_images[:2000]),
        mnist.test_labels[:2000],
    )


@pytest.fixture(scope="module")
def trained(digits):
    return graph.train(graph.Recipe((784, 48, 10), 3), *digits, np.random.default_rng())


def test_training_lowers_the_loss_of_unseen_digits(trained):
    assert trained.test_loss[-1] < 0.6 < np.log(10)
    assert trained.test_accuracy[-1] > 0.8
    assert len(trained.training_loss) == 3
    assert all(W.dtype == np.float32 for W, _ in trained.layers)


def test_adversarial_digits_differ_by_epsilon_and_are_misread(trained, digits):
    _, _, images, labels = digits
    spoiled = graph.adversarial(images, labels, trained.layers, 0.1)
    assert spoiled.min() >= 0
    assert spoiled.max() <= 1
    assert np.abs(spoiled - images).max() <= 0.1 + 1e-6
    assert graph.evaluate(spoiled, labels, trained.layers)[1] < 0.5 * trained.test_accuracy[-1]
    assert graph.evaluate(images, labels, trained.layers)[1] == pytest.approx(trained.test_accuracy[-1])


def test_batches_visit_every_image_once(rng):
    images = np.arange(40.0)[:, None]
    seen = np.concatenate([batch for batch, _ in graph.batches(images, np.arange(40), 10, rng)])
    np.testing.assert_array_equal(np.sort(seen, axis=0), images)
    assert not np.array_equal(seen, images)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "target"), [(graph.softmax_regression_recipe, 0.920), (graph.mlp_recipe, 0.980)])
def test_class_profile_reaches_the_accuracy_of_the_course(recipe, target):
    mnist = data.mnist()
    arrays = (graph.pixels(mnist.train_images), mnist.train_labels, graph.pixels(mnist.test_images), mnist.test_labels)
    run = graph.train(recipe("class"), *arrays, np.random.default_rng())
    assert run.test_accuracy[-1] >= target


def test_matmul_throughput_is_positive_and_finite():
    for with_transfer in (False, True):
        rates = graph.matmul_throughput([8, 32], with_transfer=with_transfer, seconds=0.002)
        assert rates.shape == (2,)
        assert np.all(np.isfinite(rates) & (rates > 0))


def test_every_hidden_name_exists():
    for names in graph.ANSWERS.values():
        for name in names:
            found = graph
            for part in name.split(".")[1:]:
                found = getattr(found, part)
            assert callable(found)


# -------------------------------------------------------------------------------------------------------- figures


@pytest.fixture
def perceptron(rng):
    W, x, b = graph.variable(rng.normal(size=(3, 4)), "W"), graph.constant(rng.normal(size=(4, 2)), "x"), leaf((3, 1))
    loss = graph.mean(graph.sigmoid(W @ x + b.named("b")).named("y"))
    loss.backward()
    return loss


def texts(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_the_drawing_shows_every_node_once(perceptron):
    ax = figures.computation_graph(perceptron)
    assert len(ax.patches) - len(graph.Graph.from_node(perceptron)) == len(ax.patches) // 2  # one arrow less than nodes
    for name in ("W", "x", "b", "y"):
        assert name in texts(ax)
    plt.close("all")


def test_every_figure_can_be_drawn(trained, digits):
    _, _, images, labels = digits
    figures.training_curves({"MLP": trained})
    spoiled = graph.adversarial(images[:5], labels[:5], trained.layers, 0.1)
    before, after = graph.predict(images[:5], trained.layers), graph.predict(spoiled, trained.layers)
    figures.adversarial_digits(images[:5], spoiled, before, after)
    figures.weights(trained.layers, 10)
    figures.throughput([8, 16], {"cpu": np.array([1.0, 2.0])})
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
