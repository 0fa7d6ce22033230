"""Fixtures for every tier."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the Functions worker does."""
    return "asyncio"
