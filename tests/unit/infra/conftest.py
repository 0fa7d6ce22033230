"""The template as it deploys: with its defaults, and with every combination of the switches that
change what there is."""

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.unit.infra.bicep import evaluate
from tests.unit.infra.bicep_resources import Deployment

INFRA = Path(__file__).resolve().parents[3] / "infra"
REQUIRED = {"environmentName": "test", "location": "here"}
SWITCHES: dict[str, list[Any]] = {
    "modelProvider": ["azureOpenAI", "openAI"],
    "embeddingModel": ["none", "text-embedding-3-small"],
    "durableTaskScheduler": ["", "Consumption", "Dedicated"],
    "privateNetwork": [False, True],
    "privateApi": [False, True],
    "apiManagementSku": ["", "BasicV2", "StandardV2"],
}


@cache
def deployed(**parameters: Any) -> Deployment:
    """What the template deploys with these parameters, and its defaults for the rest."""
    return evaluate(INFRA / "main.bicep", REQUIRED | parameters)


def combinations() -> Iterator[dict[str, Any]]:
    for values in itertools.product(*SWITCHES.values()):
        yield dict(zip(SWITCHES, values, strict=True))


@pytest.fixture(scope="session")
def everywhere() -> list[tuple[dict[str, Any], Deployment]]:
    """Every combination of the switches, with what it deploys."""
    return [(switches, deployed(**switches)) for switches in combinations()]
