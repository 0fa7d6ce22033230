"""Every way in which a provider or a store fails, drawn at random from a seed."""

import random
from collections import Counter
from typing import Any

from perdure.models.failures import HANDLING
from tests.cosmos import fault_proxy as store
from tests.openai_server import Answer, Call, Events, Failure, Raw, Reply, Slow, chunk

MODEL_TIMEOUT = 2.0
"""Seconds of silence after which the app gives a reply up."""

PASSING: list[Reply] = [
    *(Failure(status) for status in (408, 409, 500, 502, 503)),
    Failure(429, headers={"Retry-After": "1"}),
    Failure(429),
    Raw("this is no JSON"),
    Raw("", status=200),
    Events((chunk({"content": "Well, "}),), cut=True),
    Events((chunk({"content": "Well, "}), '{"error": {"message": "overloaded", "type": "server_error"}}')),
    Answer("A reply that breaks off", breaks_after=2),
    Slow(2 * MODEL_TIMEOUT, Answer("Too late.")),
]
"""Failures after which the same request may be answered."""

FINAL: list[Reply] = [
    *(Failure(status) for status in HANDLING if isinstance(status, int) and status in (400, 401, 403, 404, 422)),
    *(Failure(400, code=code) for code in ("content_filter", "context_length_exceeded")),
    Failure(429, code="insufficient_quota"),
]
"""Failures of a model that it will repeat."""

NONSENSE: list[Answer] = [
    Answer(calls=(Call("charge", '{"order": "half'),)),
    Answer(calls=(Call("charge", '{"amount": 3}'),)),
    Answer(calls=(Call("no_such_tool", "{}"),)),
    Answer(""),
    Answer(calls=(Call("look_up", '{"order": "always the same"}'),)),
]
"""Replies that come in one piece and make no sense."""

STORE: list[store.Fault] = [
    store.THROTTLED, store.UNAVAILABLE, store.UNAVAILABLE_AND_DONE, store.RETRY_WITH, store.TIMED_OUT,
    store.TIMED_OUT_AND_DONE, store.DROPPED, store.DROPPED_AND_DONE, store.CUT_SHORT, store.Fault(delay=0.3),
]  # fmt: skip


class Provider:
    """Answers tasks, or fails to, by what the seed says for the task, its step and the attempt at it.

    Attributes:
        harm: How often each failure was met.
    """

    def __init__(self, seed: int, answer: Any) -> None:
        self.harm = Counter[str]()
        self._seed = seed
        self._answer = answer
        self._attempts = Counter[tuple[str, int]]()

    def __call__(self, asked: dict[str, Any]) -> Reply:
        messages = asked["messages"]
        query = next(message["content"] for message in messages if message["role"] == "user")
        step = sum(message["role"] == "assistant" for message in messages)
        self._attempts[query, step] += 1
        chance = random.Random(f"{self._seed} {query} {step} {self._attempts[query, step]}")
        drawn = chance.random()
        if drawn < 0.02:
            return self._harm("final", chance.choice(FINAL))
        if drawn < 0.20:
            return self._harm("passing", chance.choice(PASSING))
        if drawn < 0.27:
            return self._harm("nonsense", chance.choice(NONSENSE))
        return self._answer(query, messages)

    def _harm(self, kind: str, reply: Reply) -> Reply:
        self.harm[f"{kind} {reply}"[:60]] += 1
        return reply


class Store:
    """Does harm to every so many-th request, as the seed says.

    Attributes:
        harm: How often each fault was met.
    """

    def __init__(self, seed: int, share: float) -> None:
        self.harm = Counter[str]()
        self._chance = random.Random(seed)
        self._share = share

    def __call__(self, request: str, body: bytes) -> store.Fault | None:
        if self._chance.random() >= self._share:
            return None
        fault = self._chance.choice(STORE)
        self.harm[str(fault)] += 1
        return fault
