"""Names that the examples in docstrings use without importing them."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _names(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        import numpy as np
        import tensorflow as tf

        import tfvae

        doctest_namespace.update(np=np, tf=tf, tfvae=tfvae)
