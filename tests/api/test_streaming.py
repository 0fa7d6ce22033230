"""A model's text, followed while it is being written."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.app import App, ScriptedProvider
from tests.openai_server import Answer

TEXT = "The quick brown fox jumps over the lazy dog, again and again and again, until the evening comes. " * 2


def follow(app: App, task_id: str, cursor: str | None = None) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """The (id, event, data) of a stream, as they arrive."""
    headers = {"Last-Event-ID": cursor} if cursor else {}
    with app.client.stream("GET", f"/agent/task/{task_id}/events", headers=headers) as response:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            if line and ": " in line:
                name, value = line.split(": ", 1)
                fields[name] = value
            elif "event" in fields:
                yield fields.get("id"), fields["event"], json.loads(fields["data"])
                fields = {}


class Reader:
    """Does what the documentation tells clients to do with deltas and steps."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self._attempts: dict[int, str] = {}
        self._recorded: set[int] = set()

    def take(self, name: str, data: dict[str, Any]) -> None:
        step = data.get("step", 0)
        if name == "step":
            self.texts[step] = data["text"]
            self._recorded.add(step)
        elif name == "delta" and step not in self._recorded:
            kept = self.texts.get(step, "") if self._attempts.get(step) == data["attempt"] else ""
            self._attempts[step] = data["attempt"]
            self.texts[step] = kept[: data["offset"]] + data["text"]


def test_text_is_told_while_it_is_written(app: App, provider: ScriptedProvider) -> None:
    slowly = Answer(TEXT, piece=2, pause=0.02)
    task_id = app.start(provider.plan("Write slowly", [slowly]))["task_id"]
    reader, seen = Reader(), list[tuple[float, str, str]]()
    for _, name, data in follow(app, task_id):
        reader.take(name, data)
        seen.append((time.monotonic(), name, reader.texts.get(1, "")))
        if name == "delta":
            assert TEXT.startswith(reader.texts[1])
    deltas = [at for at, name, _ in seen if name == "delta"]
    [recorded] = [at for at, name, _ in seen if name == "step"]
    assert len(deltas) >= 4
    assert recorded - deltas[0] > 1
    assert len(deltas) <= 10 * (deltas[-1] - deltas[0]) + 1
    assert reader.texts[1] == TEXT.strip() or reader.texts[1] == TEXT
    assert "delta" not in {
        event["event"]
        for event in app.client.get(f"/agent/task/{task_id}/events", headers={"Accept": "application/json"}).json()[
            "events"
        ]
    }


def test_a_stream_that_broke_is_begun_anew_in_another_attempt(app: App, provider: ScriptedProvider) -> None:
    broken = Answer("A first attempt that nobody will remember. " * 3, piece=2, pause=0.03, breaks_after=40)
    query = provider.plan("Write twice", [broken, Answer(TEXT, piece=2, pause=0.01)])
    task_id = app.start(query)["task_id"]
    reader, attempts = Reader(), set[str]()
    for _, name, data in follow(app, task_id):
        reader.take(name, data)
        attempts |= {data["attempt"]} if name == "delta" else set()
    assert len(attempts) == 2
    assert reader.texts[1] == TEXT


def test_whoever_reconnects_misses_nothing(app: App, provider: ScriptedProvider) -> None:
    task_id = app.start(provider.plan("Write for many", [Answer(TEXT, piece=2, pause=0.02)]))["task_id"]
    reader, cursor, ended = Reader(), None, False
    while not ended:
        # Each connection breaks after one event.
        for id, name, data in follow(app, task_id, cursor):
            reader.take(name, data)
            cursor, ended = id or cursor, name == "done"
            break
    assert reader.texts[1] == TEXT


def test_the_same_is_told_as_json(app: App, provider: ScriptedProvider) -> None:
    task_id = app.start(provider.plan("Write for a poller", [Answer(TEXT, piece=2, pause=0.02)]))["task_id"]
    reader, cursor, ended, kinds = Reader(), None, False, list[str]()
    while not ended:
        wanted = {"wait": 10} | ({"cursor": cursor} if cursor else {})
        headers = {"Accept": "application/json"}
        answer = app.client.get(f"/agent/task/{task_id}/events", params=wanted, headers=headers).raise_for_status()
        for event in answer.json()["events"]:
            kinds.append(event["event"])
            reader.take(event["event"], event["data"])
        cursor, ended = answer.json()["cursor"], answer.json()["ended"]
    assert reader.texts[1] == TEXT
    assert (kinds[-1], "delta" in kinds) == ("done", True)


def test_a_cursor_that_is_none_is_refused(app: App, provider: ScriptedProvider) -> None:
    task = app.run(provider.plan("Be over", [Answer("Over.")]))
    path = f"/agent/task/{task['task_id']}/events"
    for accept in ("application/json", "text/event-stream"):
        assert app.client.get(path, params={"cursor": "nonsense"}, headers={"Accept": accept}).status_code == 400
