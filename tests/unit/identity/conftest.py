"""An issuer for all tests here, each of which may break it."""

from collections.abc import Iterator

import pytest

from tests.oidc_issuer import OidcIssuer


@pytest.fixture(scope="session")
def started() -> Iterator[OidcIssuer]:
    with OidcIssuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(started: OidcIssuer) -> Iterator[OidcIssuer]:
    """An issuer with one key, put back afterwards as it was."""
    keys = started.keys
    started.requests.clear()
    yield started
    started.keys, started.published, started.down = keys, {}, False
