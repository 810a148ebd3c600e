"""What chapter 02 trains: flows on five densities of the plane, and on handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helpers import data, training
from helpers.flows.bijectors import Bijector, Chain, Inverse, Linear, Permutation, Sigmoid
from helpers.flows.images import MARGIN, Histogram, bits_per_dim, dequantise, from_logit, to_logit
from helpers.flows.model import Flow, History, fit, held_out_nll, nice, real_nvp
from helpers.flows.targets import Target

COUNTED = 20_000  # images that a covariance is counted from: more change little and fill the memory


@dataclass(frozen=True)
class Recipe:
    """Size of a coupling flow and how it is trained; `last` scales the last layer's initial weights."""

    steps: int
    batch: int
    rate: float
    couplings: int = 8
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    first: float = 1.0
    last: float = 0.1

    @property
    def network(self) -> dict[str, Any]:
        """The options of `Coupling` that a recipe sets."""
        return {"activation": self.activation, "first": self.first, "last": self.last}


class PlaneFlow(NamedTuple):
    """A flow trained on a target of the plane; gap = held-out NLL - entropy in nats, error its standard error."""

    flow: Flow
    history: History
    gap: float
    error: float


def plane_recipe(profile: str, kind: str = "real_nvp") -> Recipe:
    """The recipe for "real_nvp" or "nice" in a profile.

    NICE starts from large weights and steps: near the identity every shear costs nothing, and small steps stay there.
    """
    if kind not in ("real_nvp", "nice"):
        raise ValueError(f"the kinds of flow are 'real_nvp' and 'nice', got {kind!r}")
    if kind == "nice":
        return Recipe(training.setting(profile, 60, 2000), 512, 1e-2, activation="tanh", last=1.0)
    return Recipe(training.setting(profile, 60, 1500), 512, 3e-3, first=3.0)


def learn_plane(
    target: Target,
    kind: str,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    device: torch.device | str = "cpu",
    held_out: int = 100_000,
) -> PlaneFlow:
    """Train NICE or Real NVP (float32) on fresh samples of a target; `held_out` other samples measure it at the end.

    On the way a tenth of those is enough, 20 times.
    """
    make = {"nice": nice, "real_nvp": real_nvp}[kind]
    options = recipe.network | {"generator": generator, "dtype": torch.float32}
    flow = make(2, recipe.couplings, recipe.hidden, **options).to(device)
    test = target.draw(held_out, generator).to(device, torch.float32)
    pool = target.draw(recipe.steps * recipe.batch, generator).to(device, torch.float32)
    batches = iter(pool.split(recipe.batch))
    watch = {"every": max(1, recipe.steps // 20), "description": f"{kind}, {target.name}"}
    few = test[: max(2, held_out // 10)]
    history = fit(flow, lambda: next(batches), recipe.steps, learning_rate=recipe.rate, held_out=few, **watch)
    nll, error = held_out_nll(flow, test)
    return PlaneFlow(flow, history, nll - target.entropy, error)


class DigitFlow(NamedTuple):
    """A Real NVP of MNIST in logit space: history holds the test NLL (nats), bits the same in bits per dimension."""

    flow: Flow
    history: History
    bits: list[float]


@dataclass(frozen=True)
class DigitRecipe(Recipe):
    """As `Recipe`; `images` are used for training, the first `tested` test images to measure.

    histogram: whether the flow's last layer knows the grey-level histogram of every pixel.
    """

    images: int = 50_000
    tested: int = 10_000
    histogram: bool = True


def digit_recipe(profile: str) -> DigitRecipe:
    """MNIST in a profile; the paper recipe passes 50,000 images 60 times."""
    small = {"rate": 1e-3, "hidden": (64,), "couplings": 2, "images": 6_000, "tested": 500}
    middle = {"rate": 1e-3, "hidden": (256,), "couplings": 6}
    large = {"rate": 5e-4, "hidden": (1024, 1024), "couplings": 10}
    recipes = DigitRecipe(15, 100, **small), DigitRecipe(600, 100, **middle), DigitRecipe(30_000, 100, **large)
    return training.setting(profile, *recipes)


def whitening(x: Tensor, floor: float = 1e-2) -> Linear:
    """x = C^(1/2) z + mean, C the covariance of x (count, dim) plus `floor` on its diagonal: z has unit covariance."""
    mean = x.mean(0)
    centred = x - mean
    spread, axes = torch.linalg.eigh(centred.t() @ centred / len(x))
    return Linear((axes * (spread + floor).sqrt()) @ axes.t(), mean)


def digit_flow(pixels: Tensor, recipe: DigitRecipe, generator: torch.Generator) -> Flow:
    """z -> couplings, a fixed shuffle after every second -> whitening -> (histogram) -> logit space; float32 weights.

    pixels: uint8 (count, dim).  Whitening and histogram are counted from them, not trained: the flow starts as the
    Gaussian that fits best (or the Gaussian copula), and the couplings learn what is left.
    """
    dim = pixels.shape[1]
    to_space: list[Bijector] = [Histogram(pixels), Inverse(Sigmoid(dim, MARGIN))] if recipe.histogram else []
    x = to_logit(dequantise(pixels[:COUNTED], generator))[0]
    start = x if not to_space else Chain(to_space).inverse(x)[0]
    options = recipe.network | {"generator": generator, "dtype": torch.float32}
    steps = list(real_nvp(dim, recipe.couplings, recipe.hidden, **options).bijector.steps)
    for place in range(2 * ((len(steps) - 1) // 2), 0, -2):
        steps.insert(place, Permutation(torch.randperm(dim, generator=generator)))
    return Flow(Chain([*steps, whitening(start).float(), *to_space]))


def learn_digits(
    recipe: DigitRecipe, generator: torch.Generator, *, device: torch.device | str = "cpu", every: int = 0
) -> DigitFlow:
    """Train on MNIST in logit space, with fresh dequantising noise for every batch; measure on test images.

    Convention: x = logit(1e-6 + (1 - 2e-6) (pixel + u) / 256), NLL in nats of x; lower is better.
    """
    digits = data.mnist()
    train = torch.from_numpy(digits.train_images[: recipe.images].reshape(recipe.images, -1).copy())
    test, log_abs_det = to_logit(dequantise(digits.test_images[: recipe.tested], generator))
    flow = digit_flow(train, recipe, generator).to(device)

    def draw() -> Tensor:
        chosen = train[torch.randint(len(train), (recipe.batch,), generator=generator)]
        return to_logit(dequantise(chosen, generator))[0].to(device, torch.float32)

    watch = {"held_out": test.to(device, torch.float32), "every": every or max(1, recipe.steps // 10)}
    history = fit(flow, draw, recipe.steps, learning_rate=recipe.rate, clip=100.0, description="digits", **watch)
    volume = float(log_abs_det.mean())
    return DigitFlow(flow, history, [bits_per_dim(nll, volume, test.shape[1]) for nll in history.nll])


def digit_baselines(recipe: DigitRecipe, generator: torch.Generator) -> dict[str, tuple[float, float]]:
    """Test NLL in logit space (nats, standard error) of three models that are counted, not trained.

    One Gaussian for all pixels; every pixel by itself with its histogram; and both, a Gaussian copula.
    """
    digits = data.mnist()
    train = torch.from_numpy(digits.train_images[: recipe.images].reshape(recipe.images, -1).copy())
    x, test = (to_logit(dequantise(images, generator))[0] for images in (train, digits.test_images[: recipe.tested]))
    pixels = [Histogram(train), Inverse(Sigmoid(train.shape[1], MARGIN))]
    ranks = Chain(pixels).inverse(x)[0]
    models = {
        "one Gaussian": whitening(x),
        "independent pixels": Chain(pixels),
        "independent pixels + one Gaussian": Chain([whitening(ranks), *pixels]),
    }
    return {name: held_out_nll(Flow(bijector), test) for name, bijector in models.items()}


def interpolate(flow: Flow, start: Tensor, end: Tensor, steps: int = 9) -> Tensor:
    """Digits between two: images (count, 784) in logit space to pixels (count, steps, 28, 28) in [0, 1].

    In the latent space a straight line leaves the shell |z| = sqrt(dim) where the digits live, so the way is an arc:
    cos(a) z_0 + sin(a) z_1, a from 0 to pi/2.
    """
    with torch.no_grad():
        z0, z1 = (flow.bijector.inverse(x)[0] for x in (start, end))
        angle = torch.linspace(0, torch.pi / 2, steps, dtype=z0.dtype, device=z0.device)[:, None, None]
        z = (angle.cos() * z0 + angle.sin() * z1).reshape(-1, flow.dim)
        pixels = from_logit(flow.bijector(z)[0])
    return pixels.reshape(steps, len(start), 28, 28).transpose(0, 1)
