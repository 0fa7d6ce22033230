"""What a request costs before its work begins, in requests to the store; and that being told of what is another's costs
the same as of what is missing, for the time of an answer must not tell them apart."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from starlette.datastructures import Headers

from perdure.agents import load_agents
from perdure.api.approvals import decide
from perdure.api.auth import identify
from perdure.api.keys import revoke_key, tenant_key
from perdure.api.problems import NotFound, Unauthorized
from perdure.api.schemas.approvals import DecisionRequest
from perdure.api.tasks import own_task
from perdure.api.threads import own_thread
from perdure.bootstrap import Services, build
from perdure.documents.port import Documents
from perdure.documents.sqlite import SqliteDocuments
from perdure.domain.approval import Approval
from perdure.domain.principal import Principal
from perdure.domain.references import Reference
from perdure.domain.task import Agent, Limits, Task
from perdure.domain.thread import Thread, thread_key
from perdure.settings import Settings
from perdure.tools.registry import ToolRegistry
from tests.counting_documents import CountingDocuments

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
OWNER = Principal("tenant", "owner", frozenset({"admin"}))
OTHER_USER = Principal("tenant", "other", frozenset({"task:read", "approve"}))
OTHER_TENANT = Principal("another", "owner", frozenset({"admin"}))
THEIRS, MISSING = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


@pytest.fixture
async def counting() -> AsyncIterator[CountingDocuments]:
    documents = SqliteDocuments(":memory:")
    yield CountingDocuments(documents)
    await documents.close()


@pytest.fixture
def app(tmp_path: Path, counting: CountingDocuments) -> Services:
    (tmp_path / "a.yaml").write_text("name: a\ndescription: d\ninstructions: i\n")
    none = ToolRegistry([])
    return build(Settings(), load_agents(tmp_path, "a", none), none, cast("Documents", counting))


def admit(app: Services, key: str) -> Callable[[], Awaitable[Principal]]:
    """What every request passes before its work begins."""

    async def admitted() -> Principal:
        who = await identify(app, Headers({"X-API-Key": key}), "task:read")
        await app.limiter.count(who, "read")
        return who

    return admitted


async def test_a_key_and_the_limits_cost_two_requests_at_first_and_then_none(
    app: Services, counting: CountingDocuments
) -> None:
    issued = await app.keys.issue(OWNER, "", None)
    counting.reset()
    passes = admit(app, issued.text)
    assert await passes() == OWNER
    # The key, and the first block of requests.
    assert counting.requests == Counter({"read": 1, "create": 1})
    counting.reset()
    block = app.settings.limits["read"] // 10
    for _ in range(block - 1):
        await passes()
    assert counting.requests == Counter()
    await passes()
    assert counting.requests == Counter({"increment": 1}), "the next block of requests"


@pytest.mark.parametrize("wrong", ["pdk_0123456789abcdef0123_x", "{issued}x"])
async def test_a_key_that_is_wrong_costs_one_request_whether_there_is_one_like_it(
    app: Services, counting: CountingDocuments, wrong: str
) -> None:
    issued = await app.keys.issue(OWNER, "", None)
    counting.reset()
    with pytest.raises(Unauthorized):
        await admit(app, wrong.format(issued=issued.text))()
    assert counting.requests == Counter({"read": 1})


async def refused(counting: CountingDocuments, work: Awaitable[object]) -> Counter[str]:
    """What it costs to be told that there is no such thing."""
    counting.reset()
    with pytest.raises(NotFound):
        await work
    return counting.requests.copy()


@pytest.mark.parametrize("who", [OTHER_USER, OTHER_TENANT], ids=["another user", "another tenant"])
async def test_what_is_anothers_costs_what_is_missing_costs(
    app: Services, counting: CountingDocuments, who: Principal
) -> None:
    task = Task(THEIRS, "tenant", "owner", "q", None, Agent("a", "i", "m", (), Limits(5, 60)), {}, NOW, "talk")
    await app.tasks.add(task)
    key = thread_key("owner", "talk")
    await app.threads.add(Thread(key, "talk", "tenant", "owner", NOW, NOW))
    asked = Approval(THEIRS, "owner", "a", 1, 0, "t", "{}", "key", NOW, NOW + timedelta(days=1))
    await app.approvals.ask(Reference("tenant", THEIRS), [asked])
    decision = DecisionRequest.model_validate({"decision": "approve"})
    assert await refused(counting, own_task(app, who, THEIRS)) == await refused(counting, own_task(app, who, MISSING))
    assert await refused(counting, decide(app, who, THEIRS, "1-0", decision)) == await refused(
        counting, decide(app, who, MISSING, "1-0", decision)
    )
    stranger = Principal(who.tenant, "stranger", who.scopes)
    assert await refused(counting, own_thread(app, stranger, "talk")) == await refused(
        counting, own_thread(app, stranger, "nothing")
    )


@pytest.mark.parametrize("work", [tenant_key, revoke_key])
async def test_a_key_of_another_tenant_costs_what_a_missing_one_costs(
    app: Services,
    counting: CountingDocuments,
    work: Callable[[Services, Principal, str], Awaitable[object]],
) -> None:
    issued = await app.keys.issue(OWNER, "", None)
    theirs = await refused(counting, work(app, OTHER_TENANT, issued.key.id))
    assert theirs == await refused(counting, work(app, OTHER_TENANT, "0123456789abcdef0123"))
