"""One Azurite for all tests of this folder; each has queues, tables and containers of its own."""

from collections.abc import Iterator

import pytest

from tests.azurite.endpoint import Azurite, require_node


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    require_node()
    with Azurite() as azurite:
        yield azurite
