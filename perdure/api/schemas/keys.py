"""API keys in requests and responses."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from perdure.api.schemas.numbers import WHOLE
from perdure.domain.principal import NAME_PATTERN, SCOPES, ApiKey, Scope

LONGEST_LIFE = 10 * 365 * 24 * 3600
"""Seconds, ten years, that a key which expires at all may be good for."""


class KeyRequest(BaseModel):
    """A key for a user of the caller's tenant.

    Attributes:
        user: Whose it is. What is done with the key is theirs.
        scopes: What it is good for; `admin` includes all others.
        label: What it is for.
        expires_in: Seconds until it expires; absent for never.
    """

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    label: Annotated[str, StringConstraints(max_length=200)] = ""
    expires_in: Annotated[int, Field(ge=1, le=LONGEST_LIFE, strict=True), WHOLE] | None = None


class KeyListQuery(BaseModel):
    """Which of the tenant's keys are listed.

    Attributes:
        limit: How many at most.
        continuation: What the page before gave, to read on from there.
    """

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    continuation: str | None = None


class KeyView(BaseModel):
    """A key without its secret. `key_id` is the part between the underscores of what its bearer sends."""

    key_id: str
    user: str
    scopes: list[Scope]
    label: str
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyView":
        return cls.model_validate(_view(key))


class NewKeyView(KeyView):
    """A key that was just made. `key` is shown this once."""

    key: str

    @classmethod
    def of_new(cls, key: ApiKey, text: str) -> "NewKeyView":
        return cls.model_validate({**_view(key), "key": text})


def _view(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.id,
        "user": key.owner.user,
        "scopes": sorted(key.owner.scopes),
        "label": key.label,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }


class KeyPageView(BaseModel):
    """Some of a tenant's keys, newest first. `continuation` asks for the next ones; null when there are none."""

    keys: list[KeyView]
    continuation: str | None
