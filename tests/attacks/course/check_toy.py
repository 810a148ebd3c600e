"""The checks of the tiny course."""

import numpy as np

from helpers import toy
from helpers.checks.laws import exercise, law

SECRET = "the-word-that-no-student-may-read"


@exercise(points=2)
def square(square, *, rng):
    x = rng.normal(size=5)
    with law("square(x) = x x", points=1) as ok:
        ok.close(square(x), toy.square(x), hint="these are not the squares", mistakes={"you doubled": 2 * x})
    with law("square(-x) = square(x)", points=1, after="square(x) = x x") as ok:
        ok.close(square(-x), x * x, hint="not even")


@exercise(points=3)
def total(total, *, rng):
    x = rng.normal(size=5)
    with law("total is the sum of squares", points=3) as ok:
        ok.within(ok.number(total(x)) - np.sum(x * x), 1e-9, hint="this is not the sum of squares")
