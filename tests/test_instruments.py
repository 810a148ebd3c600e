"""Device, data, oracles, training and figures: what every chapter stands on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import matplotlib
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from helpers import data, device, figures, oracles, training
from helpers.checks.laws import Broken, Expect

matplotlib.use("Agg")


def test_mnist_is_complete_and_unchanged() -> None:
    digits = data.mnist()
    assert [part.shape for part in digits] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert np.bincount(digits.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    header = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    known = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert hashlib.sha256(header + digits.train_images.tobytes()).hexdigest() == known


def test_mnist_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        data.mnist().test_images[0, 0, 0] = 1


def test_mnist_loads_within_a_second_of_cpu_time() -> None:
    data.mnist.cache_clear()
    start = time.process_time()
    data.mnist()
    assert time.process_time() - start < 1.0


def test_ring_density_is_normalised_and_has_the_stated_entropy() -> None:
    def radial(r: float) -> float:
        return 2 * np.pi * r * np.exp(float(data.ring_log_density(torch.tensor([[r, 0.0]], dtype=torch.float64))))

    assert integrate.quad(radial, 0, 8)[0] == pytest.approx(1, abs=1e-9)
    entropy = integrate.quad(
        lambda r: -radial(r) * np.log(radial(r) / (2 * np.pi * r)) if radial(r) > 0 else 0, 1e-9, 6
    )
    assert entropy[0] == pytest.approx(data.RING_ENTROPY, abs=1e-6)


def test_ring_samples_follow_the_density() -> None:
    x = data.ring(50_000, torch.Generator().manual_seed(int(np.random.default_rng().integers(2**31))))
    nll = -data.ring_log_density(x)
    assert abs(float(nll.mean()) - data.RING_ENTROPY) < 6 * float(nll.std()) / 50_000**0.5
    angle = torch.atan2(x[:, 1], x[:, 0]).numpy()
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-9


@pytest.mark.parametrize(("rows", "columns", "count"), [(1, 1, 2), (2, 2, 6), (2, 3, 10), (3, 3, 14), (4, 4, 30)])
def test_bars_and_stripes_counts_every_pattern_once(rows: int, columns: int, count: int) -> None:
    images = data.bars_and_stripes(rows, columns).reshape(-1, rows, columns)
    assert len(np.unique(images, axis=0)) == len(images) == count
    constant_rows = (images == images[:, :, :1]).all(axis=(1, 2))
    constant_columns = (images == images[:, :1, :]).all(axis=(1, 2))
    assert (constant_rows | constant_columns).all()


def test_central_difference_and_jacobian_agree_with_calculus() -> None:
    A = np.random.default_rng(1).normal(size=(3, 4))
    x = np.linspace(-1, 1, 4)
    assert np.allclose(oracles.jacobian(lambda t: np.sin(A @ t), x), np.cos(A @ x)[:, None] * A, atol=1e-9)
    y = x.reshape(2, 2)
    assert np.allclose(oracles.central_difference(lambda t: float(np.sum(t**3)), y), 3 * y**2, atol=1e-9)


def test_bit_strings_count_upwards() -> None:
    bits = oracles.bit_strings(5)
    assert np.array_equal(bits @ (1 << np.arange(4, -1, -1)), np.arange(32))


def test_device_switch_says_what_it_lacks() -> None:
    assert device.pick("cpu").type == "cpu"
    assert device.pick("auto").type in device.available()
    with pytest.raises(ValueError, match="choose one of"):
        device.pick("gpu")
    for name in {"cuda", "mps"} - set(device.available()):
        with pytest.raises(RuntimeError, match=f"no {name} device"):
            device.pick(name)


def test_mps_sends_doubles_to_the_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(device, "available", lambda: ("mps", "cpu"))
    assert device.pick("auto", dtype=torch.float64).type == "cpu"
    assert "cannot hold float64" in capsys.readouterr().out
    assert device.pick("auto", dtype=torch.float32).type == "mps"


def test_profile_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COURSE_PROFILE", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)
    assert training.resolve_profile() == "class"
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    assert training.resolve_profile() == "quick"
    monkeypatch.setenv("COURSE_PROFILE", "paper")
    assert training.resolve_profile() == "paper"
    assert training.resolve_profile("class") == "class"
    with pytest.raises(ValueError, match="unknown"):
        training.resolve_profile("fast")
    assert [training.setting(p, 1, 2, 3) for p in training.PROFILES] == [1, 2, 3]
    assert training.setting("paper", 1, 2) == 2


def test_a_progress_bar_counts_and_stays_off_stderr(capsys: pytest.CaptureFixture) -> None:
    assert list(training.progress(range(3), "steps")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_figures_return_axes_and_do_not_show() -> None:
    ax = figures.curve(range(3), [1.0, 2.0, 3.0], [0.1] * 3, label="model", exact=2.0)
    assert ax.get_xlabel() == "step"
    assert len(figures.image_grid(np.zeros((5, 4, 4)), columns=3).axes) == 6


def test_importing_helpers_loads_neither_torch_nor_matplotlib() -> None:
    code = "import sys, helpers; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_helpers_never_imports_grading() -> None:
    code = "import sys, pkgutil, importlib, helpers\n"
    code += "[importlib.import_module(m.name) for m in pkgutil.walk_packages(helpers.__path__, 'helpers.')]\n"
    code += "assert not [m for m in sys.modules if m.split('.')[0] in ('grading', 'nbgrader')]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_chi_square_rejects_ten_sigma_and_accepts_the_truth() -> None:
    rng = np.random.default_rng()
    p = rng.dirichlet(np.ones(40))
    counts = rng.multinomial(20_000, p)
    Expect().chi_square(counts, 20_000 * p, "a right answer fails")
    with pytest.raises(Broken):
        Expect().chi_square(rng.multinomial(20_000, np.roll(p, 1)), 20_000 * p, "wrong")
    with pytest.raises(Broken):
        Expect().chi_square([5, 5], [10, 0], "a draw where none is expected")


def test_comparisons_fail_on_nan() -> None:
    for value in (np.nan, np.array([1.0, np.nan])):
        with pytest.raises(Broken):
            Expect().close(value, np.ones_like(value), "nan")
        with pytest.raises(Broken):
            Expect().within(value, 1.0, "nan")
