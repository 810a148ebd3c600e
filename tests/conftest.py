"""The longest file first: two workers that take a file each then finish together."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "test_notebooks.py" not in item.nodeid)
