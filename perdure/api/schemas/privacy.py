"""Erasures in responses."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from perdure.stores.erasures import Erasure


class ErasureView(BaseModel):
    """A receipt of what was erased.

    Attributes:
        status: `running` while something may be left: what was at work may still have written at its end.
        thread_id: The conversation, when it was about that alone.
        removed: How many documents of each type, and of how many orchestrations the history.
    """

    erasure_id: str
    status: Literal["running", "completed"]
    user: str
    thread_id: str | None
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    removed: dict[str, int]

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureView":
        return cls(
            erasure_id=erasure.id,
            status="completed" if erasure.completed_at else "running",
            user=erasure.user,
            thread_id=erasure.thread,
            requested_by=erasure.requested_by,
            requested_at=erasure.requested_at,
            completed_at=erasure.completed_at,
            removed=dict(erasure.removed),
        )
