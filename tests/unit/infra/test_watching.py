"""Alerts look for words the app really logs, and the gateway lets through what the app offers."""

import json
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from tree_sitter import Node

from perdure.agents import load_agents
from perdure.api.routes import ROUTES
from perdure.bootstrap import Services, build, tools
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.messages import ModelReply
from perdure.domain.references import StepRef
from perdure.domain.task import Agent, Limits, Reason, Task
from perdure.loop.model_step import take_step
from perdure.models.port import ModelRequest, ModelUnavailable
from perdure.settings import ROOT, Settings
from tests.unit.infra.bicep import parse, words
from tests.unit.infra.conftest import INFRA, deployed

ALERTS: list[dict[str, Any]] = json.loads((INFRA / "alerts.json").read_text("utf-8"))
AGENT = Agent("tester", "Be exact.", "scripted", (), Limits(5, 60))
TASK = Task("task", "tenant", "user", "What is 1+1?", None, AGENT, {}, datetime.now(UTC))


class Down:
    """A model that does not answer."""

    async def reply(self, request: ModelRequest, on_text: object = None) -> ModelReply:
        raise ModelUnavailable("down")

    async def close(self) -> None: ...


@pytest.fixture
async def app() -> AsyncIterator[Services]:
    settings = Settings()
    agents = load_agents(settings.agents_dir, settings.default_agent, tools())
    app = build(settings, agents, tools(), SqliteDocuments(":memory:"))
    await app.tasks.add(TASK)
    yield app
    await app.documents.close()


def matching(alert: str, lines: list[str]) -> list[str]:
    """The lines that a query of AppTraces finds; of the query language, the two operators that ours use."""
    (query,) = [each["query"] for each in ALERTS if each["name"] == alert]
    table, condition = query.split(" | where ")
    assert table == "AppTraces"
    tests = [re.fullmatch(r"Message (startswith|contains) '([^']+)'", part) for part in condition.split(" and ")]

    def holds(line: str, operator: str, words: str) -> bool:
        return line.startswith(words) if operator == "startswith" else words in line

    return [line for line in lines if all(test and holds(line, test[1], test[2]) for test in tests)]


@pytest.mark.anyio
async def test_a_task_that_fails_is_counted_and_one_that_is_answered_is_not(
    app: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await app.tasks.finish("tenant", "task", Reason.STEP_LIMIT, None, "too many")
        await app.tasks.finish("tenant", "task", Reason.STEP_LIMIT, None, "too many")
    assert len(matching("failed-tasks", caplog.messages)) == 1
    caplog.clear()
    await app.tasks.add(Task("other", "tenant", "user", "?", None, AGENT, {}, datetime.now(UTC)))
    with caplog.at_level(logging.INFO):
        await app.tasks.finish("tenant", "other", Reason.ANSWERED, "2", None)
    assert matching("failed-tasks", caplog.messages) == []


@pytest.mark.anyio
async def test_a_model_that_is_down_is_counted(app: Services, caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import replace

    await take_step(replace(app, model=Down()), StepRef("tenant", "task", 1))
    assert len(matching("model-unavailable", caplog.messages)) == 1


def test_every_alert_reaches_whoever_is_to_be_told() -> None:
    deployment = deployed(alertEmails="a@example.com,b@example.com")
    group = deployment.one("Microsoft.Insights/actionGroups")
    assert [each["emailAddress"] for each in group.properties["emailReceivers"]] == ["a@example.com", "b@example.com"]
    rules = deployment.of("Microsoft.Insights/scheduledQueryRules")
    assert {rule.properties["displayName"] for rule in rules} == {alert["name"] for alert in ALERTS}
    for rule in rules:
        assert rule.properties["actions"]["actionGroups"] == [f"/{group.path}"]
    for rule in deployment.of("Microsoft.Insights/metricAlerts"):
        assert rule.properties["actions"] == [{"actionGroupId": f"/{group.path}"}]
    budget = deployment.one("Microsoft.Consumption/budgets")
    for notification in budget.properties["notifications"].values():
        assert notification["contactGroups"] == [f"/{group.path}"]
    assert budget.properties["timePeriod"] == {"startDate": "2026-11-01"}


RULES = ("Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts")


def test_an_alert_has_a_severity_and_times_that_azure_knows() -> None:
    """https://learn.microsoft.com/azure/templates/microsoft.insights/scheduledqueryrules"""
    deployment = deployed()
    rules = [
        *deployment.of("Microsoft.Insights/scheduledQueryRules"),
        *deployment.of("Microsoft.Insights/metricAlerts"),
    ]
    for rule in rules:
        assert rule.properties["severity"] in range(5), rule.name
        assert rule.properties["evaluationFrequency"] in ("PT5M", "PT1H"), rule.name
        assert rule.properties["windowSize"] in ("PT5M", "PT15M", "PT1H", "P1D"), rule.name


def test_a_budget_is_made_once_for_each_amount_because_the_month_it_begins_in_cannot_be_changed() -> None:
    (budget,) = [node for node in parse(INFRA / "modules" / "budget.bicep").named_children if is_resource(node)]
    before = budget.prev_named_sibling
    assert before is not None and words(before) == "@onlyIfNotExists()"
    names = {deployed(monthlyBudget=amount).one("Microsoft.Consumption/budgets").name for amount in (200, 300)}
    assert len(names) == 2


def is_resource(node: Node) -> bool:
    return node.type == "resource_declaration"


def test_what_the_operator_must_hear_of_has_an_alert() -> None:
    deployment = deployed()
    metrics = {
        each["metricName"]
        for rule in deployment.of("Microsoft.Insights/metricAlerts")
        for each in rule.properties["criteria"]["allOf"]
    }
    assert metrics == {"TotalRequests", "TokenTransaction"}
    assert {alert["name"] for alert in ALERTS} == {"failed-tasks", "model-unavailable", "server-errors"}


def policy() -> ElementTree.Element:
    gateway = deployed(apiManagementSku="BasicV2", jwtAudience="perdure", apiManagementRateLimit=7)
    return ElementTree.fromstring(gateway.one("Microsoft.ApiManagement/service/apis/policies").properties["value"])


def found(path: str) -> ElementTree.Element:
    element = policy().find(path)
    assert element is not None
    return element


def test_the_gateway_holds_back_no_stream_and_lives_longer_than_one() -> None:
    forward = found("backend/forward-request")
    assert forward.attrib == {"timeout": "240", "buffer-response": "false"}


def test_the_gateway_checks_tokens_and_limits_addresses() -> None:
    assert found("inbound/rate-limit-by-key").attrib["calls"] == "7"
    jwt = found("inbound/choose/when/validate-jwt")
    assert [audience.text for audience in jwt.findall("audiences/audience")] == ["perdure"]
    url = found("inbound/choose/when/validate-jwt/openid-config").attrib["url"]
    assert url == "https://login.microsoftonline.com/tenant/v2.0/.well-known/openid-configuration"
    refused = found("inbound/choose/when/return-response/set-status")
    assert refused.attrib["code"] == "401"


def test_the_gateway_opens_what_the_app_opens_and_nothing_else() -> None:
    _, anonymous = policy().findall("inbound/choose/when")
    opened = tuple(re.findall(r'"(api/[^"]+)"', anonymous.attrib["condition"]))
    assert opened
    for route in ROUTES:
        assert f"api/{route.path}".startswith(opened) == (route.scope is None), route.path


def test_the_gateway_passes_on_every_method_of_the_app() -> None:
    operations = deployed(apiManagementSku="BasicV2").of("Microsoft.ApiManagement/service/apis/operations")
    assert {each.properties["method"] for each in operations} == {route.method for route in ROUTES}
    prefix = json.loads((ROOT / "host.json").read_text("utf-8"))["extensions"]["http"]["routePrefix"]
    assert {each.properties["urlTemplate"] for each in operations} == {f"/{prefix}/*"}
