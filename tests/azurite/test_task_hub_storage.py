"""Azure Storage as the Durable extension uses it for a task hub, with what our orchestrations write.

The extension itself is part of the Functions host, which cannot be had here; docs/core-tools.md says what to run where
it can. These are its operations on the three services: messages in control queues, history in a table, leases on
partitions, large messages as blobs.
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-azure-storage-provider
"""

import base64
import gzip
import json
import re
import secrets
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.finish_task import OUTPUT
from tests.azurite.endpoint import Azurite, token

HISTORIES = Path(__file__).parents[1] / "durable" / "histories"
LARGEST_MESSAGE = 45 * 1024
"""Bytes above which the extension moves a message or a property of a history row to a blob."""

LARGEST_PROPERTY = 32 * 1024
"""UTF-16 units that a text property of a table holds: 64 KiB."""


def new_name() -> str:
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
def queue(azurite: Azurite) -> str:
    """A control queue."""
    name = f"{new_name()}-control-00"
    azurite.queue.put(f"/{name}").raise_for_status()
    return name


@pytest.fixture
def history(azurite: Azurite) -> str:
    """A history table."""
    name = f"{new_name()}History"
    azurite.table.post("/Tables", json={"TableName": name}).raise_for_status()
    return name


@pytest.fixture
def container(azurite: Azurite) -> str:
    name = f"{new_name()}-largemessages"
    azurite.blob.put(f"/{name}", params={"restype": "container"}).raise_for_status()
    return name


def send(azurite: Azurite, queue: str, message: dict[str, Any]) -> None:
    text = base64.b64encode(json.dumps(message).encode()).decode()
    body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
    azurite.queue.post(
        f"/{queue}/messages", content=body, headers={"Content-Type": "application/xml"}
    ).raise_for_status()


def receive(azurite: Azurite, queue: str, hidden_for: int = 30) -> list[dict[str, str]]:
    """Up to 32 messages, as the extension takes them, with what is needed to delete them."""
    asked = {"numofmessages": 32, "visibilitytimeout": hidden_for}
    answer = azurite.queue.get(f"/{queue}/messages", params=asked).raise_for_status()
    found = ElementTree.fromstring(answer.content.lstrip(b"\xef\xbb\xbf"))
    return [{field.tag: field.text or "" for field in message} for message in found]


def delete(azurite: Azurite, queue: str, message: dict[str, str]) -> httpx.Response:
    asked = {"popreceipt": message["PopReceipt"]}
    return azurite.queue.delete(f"/{queue}/messages/{message['MessageId']}", params=asked)


def content(message: dict[str, str]) -> dict[str, Any]:
    return json.loads(base64.b64decode(message["MessageText"]))


def recorded() -> list[tuple[str, list[dict[str, Any]]]]:
    """The histories that our orchestrations really wrote, one list of events for each generation."""
    return [
        (f"{path.parent.name.replace('.', '-')}-{path.stem}-{index}", generation["history"])
        for path in sorted(HISTORIES.glob("*/*.json"))
        for index, generation in enumerate(json.loads(path.read_text("utf-8")))
    ]


def row(instance: str, number: int, event: dict[str, Any]) -> dict[str, Any]:
    (kind,) = [key for key in event if key not in ("eventId", "timestamp", "router")]
    return {
        "PartitionKey": instance, "RowKey": f"{number:016x}", "EventType": kind, "EventId": event["eventId"],
        "Payload": json.dumps(event[kind]),
    }  # fmt: skip


def insert_together(azurite: Azurite, table: str, rows: list[dict[str, Any]]) -> httpx.Response:
    """An entity group transaction: all of them or none."""
    base = str(azurite.table.base_url).rstrip("/")
    parts = "".join(
        "--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        f"POST {base}/{table} HTTP/1.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json;odata=nometadata\r\nPrefer: return-no-content\r\nDataServiceVersion: 3.0\r\n\r\n"
        f"{json.dumps(each)}\r\n"
        for each in rows
    )
    body = (
        "--batch_1\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n"
        f"{parts}--changeset_1--\r\n--batch_1--\r\n"
    )
    headers = {"Content-Type": "multipart/mixed; boundary=batch_1"}
    return azurite.table.post("/$batch", content=body, headers=headers).raise_for_status()


def rows_of(azurite: Azurite, table: str, instance: str) -> list[dict[str, Any]]:
    """A history as it is loaded for a replay: one query of one partition, in order."""
    asked = {"$filter": f"PartitionKey eq '{instance}'"}
    return azurite.table.get(f"/{table}()", params=asked).raise_for_status().json()["value"]


def test_nobody_comes_in_without_a_token_for_storage(azurite: Azurite) -> None:
    for client in (azurite.blob, azurite.queue, azurite.table):
        address = (
            f"{str(client.base_url).rstrip('/')}/Tables" if client is azurite.table else f"{client.base_url}?comp=list"
        )
        version = {"x-ms-version": client.headers["x-ms-version"]}
        assert azurite.anonymous.get(address, headers=version).status_code in (401, 403)
        other = {**version, "Authorization": f"Bearer {token('https://vault.azure.net')}"}
        assert azurite.anonymous.get(address, headers=other).status_code in (401, 403)
        late = {**version, "Authorization": f"Bearer {token(lifetime=-600)}"}
        assert azurite.anonymous.get(address, headers=late).status_code in (401, 403)


def test_a_message_is_hidden_from_other_instances_until_it_is_deleted(azurite: Azurite, queue: str) -> None:
    send(azurite, queue, {"instance": "task-1", "event": "executionStarted"})
    (message,) = receive(azurite, queue)
    assert content(message) == {"instance": "task-1", "event": "executionStarted"}
    assert receive(azurite, queue) == []
    assert delete(azurite, queue, message).status_code == 204
    assert delete(azurite, queue, message).status_code == 404


def test_a_message_that_an_instance_took_and_died_with_is_handed_to_the_next(azurite: Azurite, queue: str) -> None:
    send(azurite, queue, {"instance": "task-1", "event": "taskCompleted"})
    (first,) = receive(azurite, queue, hidden_for=1)
    deadline = time.monotonic() + 30
    while not (again := receive(azurite, queue)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert content(again[0]) == content(first)
    assert again[0]["DequeueCount"] == "2"
    # The dead one's receipt is worth nothing: if it comes back to life, it cannot delete what another works on.
    assert delete(azurite, queue, first).status_code in (400, 404)


def test_messages_are_taken_in_batches_of_32(azurite: Azurite, queue: str) -> None:
    for number in range(40):
        send(azurite, queue, {"number": number})
    first, second = receive(azurite, queue), receive(azurite, queue)
    assert (len(first), len(second)) == (32, 8)
    assert {content(message)["number"] for message in first + second} == set(range(40))


@pytest.mark.parametrize(("name", "events"), recorded(), ids=[name for name, _ in recorded()])
def test_the_history_of_every_recorded_orchestration_is_read_back_as_it_was_written(
    azurite: Azurite, history: str, name: str, events: list[dict[str, Any]]
) -> None:
    rows = [row(name, number, event) for number, event in enumerate(events)]
    for start in range(0, len(rows), 100):
        answer = insert_together(azurite, history, rows[start : start + 100])
        assert re.findall(r"HTTP/1\.1 (\d+)", answer.text) == ["204"] * len(rows[start : start + 100])
    found = [{key: each[key] for key in rows[0]} for each in rows_of(azurite, history, name)]
    assert found == rows


def test_no_message_and_no_row_of_ours_needs_a_blob() -> None:
    """References only: what an orchestration of ours exchanges stays far below what would be moved."""
    events = [event for _, history in recorded() for event in history]
    assert max(len(json.dumps(event)) for event in events) < LARGEST_MESSAGE / 10


def test_of_two_instances_that_add_the_same_row_one_is_refused_with_its_whole_batch(
    azurite: Azurite, history: str
) -> None:
    event = {"eventId": 1, "taskScheduled": {"name": "model_step"}}
    assert "204" in insert_together(azurite, history, [row("task-1", 1, event)]).text
    refused = insert_together(azurite, history, [row("task-1", 0, event), row("task-1", 1, event)])
    assert re.findall(r"HTTP/1\.1 (\d+)", refused.text)[-1] == "409"
    assert [each["RowKey"] for each in rows_of(azurite, history, "task-1")] == [f"{1:016x}"]


def test_an_instance_row_is_replaced_only_by_who_read_it_last(azurite: Azurite, history: str) -> None:
    body = {"PartitionKey": "task-1", "RowKey": "", "RuntimeStatus": "Running"}
    azurite.table.post(f"/{history}", json=body).raise_for_status()
    address = f"/{history}(PartitionKey='task-1',RowKey='')"
    etag = azurite.table.get(address).raise_for_status().headers["ETag"]
    done = body | {"RuntimeStatus": "Completed"}
    assert azurite.table.put(address, json=done, headers={"If-Match": etag}).status_code == 204
    assert azurite.table.put(address, json=body, headers={"If-Match": etag}).status_code == 412
    assert azurite.table.get(address).json()["RuntimeStatus"] == "Completed"


def lease(azurite: Azurite, address: str, action: str, **headers: str) -> httpx.Response:
    asked = {"x-ms-lease-action": action, **headers}
    return azurite.blob.put(address, params={"comp": "lease"}, headers=asked)


def test_a_partition_belongs_to_one_instance_until_its_lease_ends(azurite: Azurite, container: str) -> None:
    address = f"/{container}/control-00"
    azurite.blob.put(address, content=b"{}", headers={"x-ms-blob-type": "BlockBlob"}).raise_for_status()
    first = lease(azurite, address, "acquire", **{"x-ms-lease-duration": "60"})
    assert first.status_code == 201
    assert lease(azurite, address, "acquire", **{"x-ms-lease-duration": "60"}).status_code == 409
    owner = {"x-ms-lease-id": first.headers["x-ms-lease-id"]}
    assert lease(azurite, address, "renew", **owner).status_code == 200
    stolen = azurite.blob.put(address, content=b"mine", headers={"x-ms-blob-type": "BlockBlob"})
    assert stolen.status_code == 412
    assert lease(azurite, address, "release", **owner).status_code == 200
    assert lease(azurite, address, "acquire", **{"x-ms-lease-duration": "60"}).status_code == 201


def test_the_longest_answer_goes_through_a_blob_and_comes_back_whole(
    azurite: Azurite, container: str, queue: str
) -> None:
    """The only text of ours in history: an answer, cut to OUTPUT characters, of which each may take four bytes."""
    output = {"task_id": "task-1", "status": "completed", "result": "𝛼" * OUTPUT}
    plain = json.dumps(output, ensure_ascii=False).encode()
    assert len(plain) > LARGEST_MESSAGE
    packed = gzip.compress(plain)
    name = f"task-1/message-{secrets.token_hex(8)}.json.gz"
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-blob-content-encoding": "gzip", "Content-Type": "application/json"}
    azurite.blob.put(f"/{container}/{name}", content=packed, headers=headers).raise_for_status()
    send(azurite, queue, {"compressedBlobName": name})
    (message,) = receive(azurite, queue)
    stored = azurite.blob.get(f"/{container}/{content(message)['compressedBlobName']}").raise_for_status()
    assert stored.headers["Content-Encoding"] == "gzip"
    assert json.loads(stored.content) == output
    # A purge removes them by the instance's prefix.
    asked = {"restype": "container", "comp": "list", "prefix": "task-1/"}
    listed = azurite.blob.get(f"/{container}", params=asked).text
    assert re.findall(r"<Name>([^<]+)</Name>", listed) == [name]
    assert azurite.blob.delete(f"/{container}/{name}").status_code == 202
    assert azurite.blob.get(f"/{container}/{name}").status_code == 404


def test_the_longest_answer_is_more_than_a_row_of_a_table_holds(azurite: Azurite, history: str) -> None:
    """Which is why the extension moves it to a blob."""
    body = {"PartitionKey": "task-1", "RowKey": "0", "Payload": "𝛼" * (LARGEST_PROPERTY + 1)}
    assert azurite.table.post(f"/{history}", json=body).status_code in (400, 413)
