"""The functions of Bicep that `infra/` calls."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any


class BicepError(Exception):
    """The template is wrong. The message says where."""


class Runtime(str):
    """A text that only Azure knows."""

    __slots__ = ()


def union(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Later objects win; objects in objects are merged."""
    merged: dict[str, Any] = {}
    for value in values:
        for key, item in value.items():
            old = merged.get(key)
            merged[key] = union(old, item) if isinstance(old, Mapping) and isinstance(item, Mapping) else item
    return merged


def concat(*values: list[Any]) -> list[Any]:
    return [item for value in values for item in value]


def empty(value: Any) -> bool:
    if value is not None and not isinstance(value, str | list | Mapping):
        raise BicepError(f"empty({value!r})")
    return not value


def unique_string(*seeds: str) -> str:
    """13 characters that depend on the seeds alone."""
    return hashlib.sha256("\0".join(seeds).encode()).hexdigest()[:13]


def string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "union": union,
    "concat": concat,
    "empty": empty,
    "uniqueString": unique_string,
    "guid": lambda *seeds: str(uuid.uuid5(uuid.NAMESPACE_URL, "\0".join(seeds))),
    "string": string,
    "max": max,
    "toLower": str.lower,
    "split": lambda text, by: text.split(by),
    "replace": lambda text, old, new: text.replace(old, new),
    "utcNow": lambda format: {"yyyy-MM-01": "2026-11-01"}[format],
    "subscription": lambda: {"id": "/subscriptions/s", "tenantId": "tenant"},
    "tenant": lambda: {"tenantId": "tenant"},
    "environment": lambda: {
        "suffixes": {"storage": "core.windows.net"},
        "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
    },
    "subscriptionResourceId": lambda kind, name: f"/subscriptions/s/providers/{kind}/{name}",
}
