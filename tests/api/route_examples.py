"""One request for every route, by the name of its operation, for tests that try each with every kind of caller.

A new route needs an entry here: what to send, what its owner is answered, and whose the thing in its path is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import httpx

from perdure.api.routes import Route
from tests.app import App, ScriptedProvider, until
from tests.openai_server import Answer, Call

type Things = dict[str, str]
"""Values for the braces of a path."""


class Stage:
    """What there is to ask for, all of it the same user's."""

    def __init__(self, app: App, provider: ScriptedProvider, owner: httpx.Client) -> None:
        self._app, self._provider, self._owner = app, provider, owner
        self._made = 0

    @cached_property
    def ended_task(self) -> Things:
        query = self._provider.plan("A task that others may not see", [Answer("Done.")])
        started = self._owner.post("/agent/task", json={"query": query, "thread_id": "private"})
        task_id = started.raise_for_status().json()["task_id"]
        self._app.finish(task_id, client=self._owner)
        return {"task_id": task_id}

    @property
    def thread(self) -> Things:
        assert self.ended_task
        return {"thread_id": "private"}

    @cached_property
    def decided_call(self) -> Things:
        steps = [Answer(calls=(Call("dangerous", "{}"),)), Answer("Then not.")]
        query = self._provider.plan("What needs an approval", steps)
        started = self._owner.post("/agent/task", json={"query": query, "agent": "faulty"}).raise_for_status().json()
        path = f"/agent/task/{started['task_id']}/approvals/1-0"
        until(lambda: self._owner.post(path, json={"decision": "reject"}), lambda response: response.status_code == 200)
        self._app.finish(started["task_id"], client=self._owner)
        return {"task_id": started["task_id"], "approval_id": "1-0"}

    def new_task(self) -> Things:
        query = self._provider.plan("A task whose history goes", [Answer("Done.")])
        started = self._owner.post("/agent/task", json={"query": query}).raise_for_status().json()
        until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202)
        return {"task_id": started["task_id"]}

    @cached_property
    def ended_ingestion(self) -> Things:
        return self.new_ingestion()

    def new_ingestion(self) -> Things:
        self._made += 1
        body = {"title": "Followed", "text": f"Text {self._made}"}
        started = self._owner.post("/memory/documents", json=body).raise_for_status().json()
        until(lambda: httpx.get(started["statusQueryGetUri"]), lambda response: response.status_code != 202)
        return {"ingestion_id": started["ingestion_id"]}

    def new_thread(self) -> Things:
        self._made += 1
        query = self._provider.plan(f"Of thread {self._made}", [Answer("Done.")])
        started = self._owner.post("/agent/task", json={"query": query, "thread_id": f"thread-{self._made}"})
        self._app.finish(started.raise_for_status().json()["task_id"], client=self._owner)
        return {"thread_id": f"thread-{self._made}"}

    def new_erasure(self) -> Things:
        return {"erasure_id": self._owner.delete("/users/nobody").raise_for_status().json()["erasure_id"]}

    def new_document(self) -> Things:
        self._made += 1
        [document] = self._app.load(("Private", f"Text {self._made}"), client=self._owner)["documents"]
        return {"document_id": document["id"]}

    def new_key(self) -> Things:
        made = self._owner.post("/keys", json={"user": "somebody", "scopes": ["task:read"]})
        return {"key_id": made.raise_for_status().json()["key_id"]}


@dataclass(frozen=True)
class Example:
    """A request that works for whoever has the route's scope and owns what it is about.

    Attributes:
        answer: The status that its owner gets.
        needs: Makes what the path names, as its owner.
        missing: The same values, of a thing that there is not.
        of: Whose the thing is: others than this user, or than this tenant, are told that there is none. None for
            routes that are about nothing in particular, or about what is the caller's own.
        json: The body.
    """

    answer: int = 200
    needs: Callable[[Stage], Things] | None = None
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    of: Literal["user", "tenant"] | None = None
    json: Mapping[str, Any] | None = None

    def send(self, client: httpx.Client, route: Route, things: Mapping[str, str]) -> httpx.Response:
        path = route.path.format(**{"event_name": "hello", **things})
        return client.request(route.method, f"/{path}", json=self.json)


NO_TASK = {"task_id": "0123456789abcdef0123456789abcdef"}
NO_DOCUMENT = {"document_id": "0123456789abcdef01234567"}
NO_INGESTION = {"ingestion_id": "ingestion-0123456789abcdef0123456789abcdef"}
NO_KEY = {"key_id": "0123456789abcdef0123"}

MANAGED: Mapping[str, tuple[int, Mapping[str, Any] | None]] = {
    "status": (200, None),
    "raise_event_in": (410, {}),
    "terminate": (410, None),
    "suspend": (410, None),
    "resume": (410, None),
    "rewind": (409, None),
    "restart": (409, None),
}
"""What the owner of an operation that has ended is answered, and what is sent."""

EXAMPLES: Mapping[str, Example] = {
    # An agent that there is not: the caller is known and the request understood, and no task starts.
    "start_task": Example(422, json={"query": "Hello", "agent": "nobody"}),
    "list_tasks": Example(),
    "get_task": Example(needs=lambda stage: stage.ended_task, missing=NO_TASK, of="user"),
    "follow_task": Example(needs=lambda stage: stage.ended_task, missing=NO_TASK, of="user"),
    "cancel_task": Example(409, needs=lambda stage: stage.ended_task, missing=NO_TASK, of="user"),
    "list_approvals": Example(),
    # Administrators decide for everybody in their tenant.
    "decide_approval": Example(
        409,
        needs=lambda stage: stage.decided_call,
        missing={**NO_TASK, "approval_id": "1-0"},
        of="tenant",
        json={"decision": "approve"},
    ),
    "get_thread": Example(needs=lambda stage: stage.thread, missing={"thread_id": "nothing"}, of="user"),
    "erase_thread": Example(needs=Stage.new_thread, missing={"thread_id": "nothing"}, of="user"),
    "erase_user": Example(needs=lambda _: {"user_id": "somebody"}, missing={"user_id": "nobody"}),
    "export_user": Example(needs=lambda _: {"user_id": "somebody"}, missing={"user_id": "nobody"}),
    "get_erasure": Example(needs=Stage.new_erasure, missing={"erasure_id": "0123456789abcdef01234567"}, of="tenant"),
    "load_documents": Example(422, json={"title": "", "text": ""}),
    "list_documents": Example(),
    "remove_document": Example(204, needs=Stage.new_document, missing=NO_DOCUMENT, of="user"),
    "search_memory": Example(json={"query": "text"}),
    "list_agents": Example(),
    "list_tools": Example(),
    "get_usage": Example(),
    "make_key": Example(201, json={"user": "somebody", "scopes": ["task:read"]}),
    "list_keys": Example(),
    "get_key": Example(needs=Stage.new_key, missing=NO_KEY, of="tenant"),
    "revoke_key": Example(204, needs=Stage.new_key, missing=NO_KEY, of="tenant"),
    **{
        f"{verb}_task": Example(answer, needs=lambda stage: stage.ended_task, missing=NO_TASK, of="user", json=json)
        for verb, (answer, json) in MANAGED.items()
    },
    "purge_task": Example(needs=Stage.new_task, missing=NO_TASK, of="user"),
    **{
        f"{verb}_ingestion": Example(
            answer, needs=lambda stage: stage.ended_ingestion, missing=NO_INGESTION, of="user", json=json
        )
        for verb, (answer, json) in MANAGED.items()
    },
    "purge_ingestion": Example(needs=Stage.new_ingestion, missing=NO_INGESTION, of="user"),
    "health": Example(),
    "openapi": Example(),
    "docs": Example(),
    "docs_asset": Example(needs=lambda _: {"asset": "start.js"}),
}
