"""Alerts over a store in memory and a real webhook: what is sent, once, and what holds nobody up."""

import logging
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perdure import alerts
from perdure.alert_settings import AlertSettings, AlertSettingsError
from perdure.alerts import CostAlerts
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.budget import Budget, Call, Price
from perdure.domain.messages import Usage
from perdure.domain.task import Agent, Limits, Step, Task, TaskRecord
from perdure.domain.usual_cost import Range
from perdure.stores.usage import UsageStore
from tests.webhook import Webhook

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
PRICE = Price(Decimal(1), Decimal(1))
AGENT = Agent("helper", "Be exact.", "m", (), Limits(5, 60), price=PRICE)
TASK = Task("task", "t", "ann", "What is dear?", None, AGENT, {}, NOW, ended_at=NOW)
RANGE = Range(times=5, floor=1000)


@pytest.fixture
async def usage() -> AsyncIterator[UsageStore]:
    documents = SqliteDocuments(":memory:")
    yield UsageStore(documents, Budget(), Budget(), 60)
    await documents.close()


async def spend(usage: UsageStore, task: str, micro_usd: int, days_ago: int = 0) -> TaskRecord:
    """Use a model for a task of one step."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    call = Call("t", "ann", task, 1, "helper", "m", PRICE, Usage(micro_usd), at)
    await usage.reserve(call)
    await usage.commit(call, Usage(micro_usd))
    return TaskRecord(replace(TASK, id=task), (Step(1, "It.", (), Usage(micro_usd), "m", at, at),))


async def test_what_is_usual_is_not_told(usage: UsageStore) -> None:
    with Webhook() as webhook:
        watch = CostAlerts(usage, AlertSettings(webhook.url, RANGE, RANGE))
        for days_ago in (1, 2, 3):
            await spend(usage, f"task-{days_ago}", 2000, days_ago)
        watch.look_at(await spend(usage, "task", 9000))
        await watch.finish()
        assert webhook.messages == []


async def test_an_unusual_task_and_an_unusual_day_are_told_once_each(usage: UsageStore) -> None:
    with Webhook() as webhook:
        watch = CostAlerts(usage, AlertSettings(webhook.url, RANGE, RANGE))
        for days_ago in (1, 2, 3):
            await spend(usage, f"task-{days_ago}", 2000, days_ago)
        day = str(datetime.now(UTC).date())
        watch.look_at(await spend(usage, "dear", 10_001))
        watch.look_at(await spend(usage, "cheap", 500))
        await watch.finish()
        amounts = {"tenant": "t", "user": "ann", "day": day, "usual_usd": 0.002}
        told = {str(message["alert"]): message for message in webhook.messages}
        assert len(webhook.messages) == 2
        assert told["task_cost"] == amounts | {
            "alert": "task_cost", "agent": "helper", "task_id": "dear", "cost_usd": 0.010001,
        }  # fmt: skip
        assert (told["day_cost"]["task_id"], told["day_cost"]["usual_usd"]) == (None, 0.002)
        assert told["day_cost"]["cost_usd"] in (0.010001, 0.010501)
        assert TASK.query not in str(webhook.messages)


async def test_nobody_is_told_when_nobody_is_named(usage: UsageStore, caplog: pytest.LogCaptureFixture) -> None:
    watch = CostAlerts(usage, None)
    watch.look_at(await spend(usage, "dear", 10**9))
    await watch.finish()
    assert caplog.messages == []


@pytest.mark.parametrize("kind", ["refuses", "hangs", "fails"])
async def test_a_webhook_that_does_not_take_it_holds_up_nobody_and_is_not_named(
    usage: UsageStore, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "SEND_SECONDS", 0.5)
    with Webhook(status=500) as failing, socket.create_server(("127.0.0.1", 0)) as silent:
        closed = socket.create_server(("127.0.0.1", 0))
        urls = {
            "refuses": f"http://127.0.0.1:{closed.getsockname()[1]}/secret",
            "hangs": f"http://127.0.0.1:{silent.getsockname()[1]}/secret",
            "fails": failing.url,
        }
        closed.close()
        record = await spend(usage, "dear", 10**9)
        watch = CostAlerts(usage, AlertSettings(urls[kind], RANGE, Range(5, 10**12)))
        begun = time.monotonic()
        with caplog.at_level(logging.WARNING):
            watch.look_at(record)
            assert time.monotonic() - begun < 0.1
            await watch.finish()
    assert caplog.messages[0] == "Unusual cost: task dear"
    assert caplog.messages[1].startswith("The alert about task dear was not taken: ")
    assert "secret" not in caplog.text


def test_the_webhook_is_no_part_of_what_is_printed() -> None:
    settings = AlertSettings.from_env({"PERDURE_ALERT_WEBHOOK": "https://example.com/hooks/secret"})
    assert settings and "secret" not in repr(settings)
    assert (settings.task, settings.day) == (Range(5.0, 1_000_000), Range(5.0, 10_000_000))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PERDURE_ALERT_WEBHOOK": "ftp://example.com"}, "PERDURE_ALERT_WEBHOOK is no address"),
        ({"PERDURE_ALERT_WEBHOOK": "https://"}, "PERDURE_ALERT_WEBHOOK is no address"),
        ({"PERDURE_ALERT_TIMES": "0.5"}, "PERDURE_ALERT_TIMES is '0.5'; it must be a number of at least 1"),
        ({"PERDURE_ALERT_DAY_USD": "much"}, "PERDURE_ALERT_DAY_USD is 'much'"),
        ({"PERDURE_ALERT_WEBHOOK": "@Microsoft.KeyVault(SecretUri=x)"}, "was not resolved"),
    ],
)
def test_a_wrong_setting_is_told_by_name(environ: dict[str, str], said: str) -> None:
    with pytest.raises(AlertSettingsError) as error:
        AlertSettings.from_env(environ)
    assert said in str(error.value)
    assert "https" not in str(error.value) or "must start with" in str(error.value)
