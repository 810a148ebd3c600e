"""Plain values as bytes and back: JSON for the tree, npy for the arrays, never pickle.

Values that cross: None, bool, int, float, complex, str, tuple, list, dict with string keys, numpy arrays and torch
tensors of numbers, named tuples of `helpers`, and objects of `helpers` that can be rebuilt from such values
(`to_plain`, `from_plain`). Numbers of more or less precision than numpy and torch share cross as their neighbours.
"""

from __future__ import annotations

import importlib
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MAX_BYTES = 256 * 2**20
MAX_REPLY = 32 * 2**20  # of what a student's function may return
MAX_DEPTH = 32
MAX_ITEMS = 100_000


class BoundaryError(ValueError):
    """A value that may not cross, or bytes that are no value."""


# ------------------------------------------------------------------------------------------------ values to bytes


def encode(value: Any, most: int = MAX_BYTES) -> bytes:
    """`value` as bytes: the length of a JSON text, the JSON text, then the arrays that it numbers, each as npy."""
    arrays = _Arrays(most)
    text = json.dumps(_pack(value, arrays, [MAX_ITEMS], 0)).encode()
    arrays.take(len(text))
    return b"".join([len(text).to_bytes(8, "big"), text, *(len(a).to_bytes(8, "big") + a for a in arrays)])


class _Arrays(list[bytes]):
    """The arrays of one message; what would go beyond `most` bytes in all is refused before it is copied."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = self.left = most

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise BoundaryError(f"the value takes over {self.most >> 20} MiB, more than may cross")


def _pack(value: Any, arrays: _Arrays, budget: list[int], depth: int) -> Any:
    """`value` as a JSON tree in which {"@tag": ...} stands for whatever JSON lacks."""
    _spend(budget, depth)
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return {"@int": str(value)} if abs(value) < 10**1000 else _refuse("an integer of over 1,000 digits")
    if type(value) is float:
        return value if math.isfinite(value) else {"@float": repr(value)}
    if type(value) is complex:
        return {"@complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, torch.Tensor):
        return {"@tensor": _store(_array(value), arrays)}
    if isinstance(value, np.generic):
        return {"@scalar": _store(np.asarray(value), arrays)}
    if isinstance(value, np.ndarray):
        return {"@array": _store(np.asarray(value), arrays)}
    if isinstance(value, (tuple, list)):
        items = [_pack(item, arrays, budget, depth + 1) for item in list(value)]
        if hasattr(value, "_fields") and type(value).__module__.startswith("helpers."):
            return {"@named": [type(value).__module__, type(value).__name__, items]}
        return {"@tuple" if isinstance(value, tuple) else "@list": items}
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            _refuse("a dict whose keys are not all strings")
        return {"@dict": [[key, _pack(item, arrays, budget, depth + 1)] for key, item in value.items()]}
    return _pack_object(value, arrays, budget, depth)


def _pack_object(value: Any, arrays: _Arrays, budget: list[int], depth: int) -> Any:
    kind = type(value)
    if not (kind.__module__.startswith("helpers.") and hasattr(kind, "to_plain") and hasattr(kind, "from_plain")):
        _refuse(f"a {kind.__name__}")
    state = _pack(value.to_plain(), arrays, budget, depth + 1)
    return {"@object": [kind.__module__, kind.__name__, state]}


def _refuse(what: str) -> Any:
    raise BoundaryError(f"{what} cannot be compared: return numbers, strings, arrays, tensors, or tuples of these")


def _spend(budget: list[int], depth: int) -> None:
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise BoundaryError(f"a value may nest {MAX_DEPTH} deep and hold {MAX_ITEMS:,} items; this one goes beyond")


def _array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's numbers, wherever it lives and however it is laid out."""
    tensor = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _store(array: np.ndarray, arrays: _Arrays) -> int:
    if array.dtype.kind not in "biufc":
        _refuse("a list of unequal rows or an integer beyond 64 bits" if array.dtype == object else f"a {array.dtype}")
    arrays.take(array.nbytes)
    if array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):  # long double differs from machine to machine
        array = array.astype(complex if array.dtype.kind == "c" else float)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    arrays.append(buffer.getvalue())
    return len(arrays) - 1


# ------------------------------------------------------------------------------------------------ bytes to values


def decode(message: bytes) -> Any:
    """The value that `encode` made into `message`; BoundaryError for anything else, however it is malformed."""
    try:
        text, arrays = _split(message)
        return _unpack(json.loads(text, parse_constant=_refuse), arrays, [MAX_ITEMS], 0)
    except BoundaryError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise BoundaryError(f"the reply cannot be read ({type(error).__name__})") from None


def _split(message: bytes) -> tuple[bytes, list[np.ndarray]]:
    if len(message) > MAX_BYTES:
        raise BoundaryError(f"the reply takes {len(message) >> 20} MiB; at most {MAX_BYTES >> 20} MiB may cross")
    parts, start = [], 0
    while start < len(message):
        end = start + 8 + int.from_bytes(message[start : start + 8], "big")
        if end > len(message) or len(parts) > MAX_ITEMS:
            raise BoundaryError("the reply is cut short")
        parts.append(message[start + 8 : end])
        start = end
    return parts[0], [_load(part) for part in parts[1:]]


def _load(npy: bytes) -> np.ndarray:
    """One array; its claimed size is compared with its bytes before anything is allocated."""
    buffer = io.BytesIO(npy)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise BoundaryError("an array of the reply is not in npy format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.kind not in "biufc" or math.prod(shape) * dtype.itemsize != len(npy) - buffer.tell():
        raise BoundaryError("an array of the reply does not hold what it claims")
    flat = np.frombuffer(npy, dtype, offset=buffer.tell()).copy()
    return flat.reshape(shape, order="F" if fortran else "C")


def _unpack(tree: Any, arrays: list[np.ndarray], budget: list[int], depth: int) -> Any:
    _spend(budget, depth)
    if not isinstance(tree, dict):
        if isinstance(tree, (list, int)) and not isinstance(tree, bool):
            raise BoundaryError("the reply is not in this format")
        return tree
    if len(tree) != 1:
        raise BoundaryError("the reply is not in this format")
    ((tag, body),) = tree.items()
    if tag in _SIMPLE:
        return _SIMPLE[tag](body, arrays)
    if tag == "@named":
        module, name, state = body
        items = [_unpack(item, arrays, budget, depth + 1) for item in state]
        return _class_named(module, name, "_fields")(*items)
    if tag in ("@tuple", "@list"):
        items = [_unpack(item, arrays, budget, depth + 1) for item in body]
        return tuple(items) if tag == "@tuple" else items
    if tag == "@dict":
        return {str(key): _unpack(item, arrays, budget, depth + 1) for key, item in body}
    if tag == "@object":
        module, name, state = body
        return _class_named(module, name, "from_plain").from_plain(_unpack(state, arrays, budget, depth + 1))
    raise BoundaryError(f"the reply holds an unknown tag {str(tag)[:20]!r}")


_SIMPLE: dict[str, Callable[[Any, list[np.ndarray]], Any]] = {
    "@int": lambda body, arrays: int(body) if len(body) <= 1001 else _refuse("an integer of over 1,000 digits"),
    "@float": lambda body, arrays: float(body),
    "@complex": lambda body, arrays: complex(float(body[0]), float(body[1])),
    "@array": lambda body, arrays: arrays[body],
    "@scalar": lambda body, arrays: arrays[body][()],
    "@tensor": lambda body, arrays: torch.from_numpy(arrays[body]),
}


def _class_named(module: str, name: str, offers: str) -> Any:
    """A class of helpers that offers from_plain, or the fields of a named tuple; anything else is refused."""
    if not (isinstance(module, str) and module.startswith("helpers.") and isinstance(name, str)):
        raise BoundaryError("the reply names a class outside helpers")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and kind.__module__ == module and hasattr(kind, offers)):
        raise BoundaryError("the reply names a class that cannot cross")
    return kind
