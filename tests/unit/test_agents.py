"""Agent files: the shipped ones are right, and a wrong one is told where and why."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from perdure.agents import AgentError, Agents, load_agents
from perdure.domain.budget import FREE, Budget, Price
from perdure.domain.task import Agent, Offer
from perdure.settings import ROOT
from perdure.tools import tool
from perdure.tools.registry import ToolRegistry, discover

GOOD = "name: helper\ndescription: Helps.\ninstructions: Help.\n"


@tool(idempotent=True)
def count_words(text: str) -> int:
    """Count words.

    Args:
        text: Any text.
    """
    return len(text.split())


@tool(approval="always")
def wipe() -> str:
    """Remove everything."""
    return "gone"


REGISTRY = ToolRegistry([count_words])


def frozen(agents: Agents, name: str, tools: ToolRegistry, prices: Mapping[str, Price | None] | None = None) -> Agent:
    return agents.frozen(agents.by_name[name], "small", tools, prices or {})


def test_the_shipped_agents_load_with_the_shipped_tools() -> None:
    import activities.tools

    agents = load_agents(ROOT / "agents", "assistant", discover(activities.tools))
    assert set(agents.by_name) == {"assistant", "correspondent", "researcher"}
    assert agents.get(None) is agents.by_name["assistant"]
    assert agents.get("nobody") is None


def test_a_file_says_all_there_is_to_an_agent(tmp_path: Path) -> None:
    text = GOOD + "model: big\ntools: [count_words]\nlimits: {max_steps: 3, max_seconds: 9.5}\nbudget: {usd: 0.3}\n"
    text += "fallback: [small, big, other, small]\n"
    (tmp_path / "helper.yaml").write_text(text)
    agent = frozen(load_agents(tmp_path, "helper", REGISTRY), "helper", REGISTRY, {"big": FREE})
    assert (agent.budget, agent.price) == (Budget(None, 300_000), FREE)
    assert (agent.model, agent.tools, agent.limits.max_steps, agent.limits.max_seconds) == (
        "big",
        ("count_words",),
        3,
        9.5,
    )
    assert agent.fallback == (Offer("small", None), Offer("other", None)), "each model once"


def test_an_agent_decides_otherwise_than_its_tools_which_calls_need_approval(tmp_path: Path) -> None:
    (tmp_path / "helper.yaml").write_text(GOOD + "tools: [count_words, wipe]\napproval: {count_words: len(text) > 5}\n")
    (tmp_path / "bold.yaml").write_text(
        GOOD.replace("helper", "bold") + "tools: [count_words, wipe]\napproval: {wipe: never}\n"
    )
    registry = ToolRegistry([count_words, wipe])
    agents = load_agents(tmp_path, "helper", registry)
    policies = {name: frozen(agents, name, registry).approval for name in agents.by_name}
    assert policies == {
        "helper": {"count_words": "len(text) > 5", "wipe": "always"},
        "bold": {},
    }


def test_an_agent_without_a_model_takes_the_default_one(tmp_path: Path) -> None:
    (tmp_path / "helper.yaml").write_text(GOOD)
    assert frozen(load_agents(tmp_path, "helper", REGISTRY), "helper", REGISTRY).model == "small"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "(the whole file)"),
        ("- a\n- b\n", "(the whole file)"),
        ("name: [", "line 1"),
        ("name: helper\ndescription: Helps.\n", "instructions: Field required"),
        (GOOD + "temperature: 0.5\n", "temperature: Extra inputs"),
        (GOOD + "limits: {max_steps: 0}\n", "limits.max_steps"),
        (GOOD + "limits: {max_seconds: 0}\n", "limits.max_seconds"),
        (GOOD + "tools: count_words\n", "tools"),
        (GOOD + "tools: [count_word]\n", "count_words"),
        (GOOD + "approval: {count_words: always}\n", "approval.count_words: it is not among the agent's tools"),
        (GOOD + "tools: [count_words]\napproval: {count_words: len(txt) > 5}\n", "there is no 'txt'"),
        (GOOD + "tools: [count_words]\napproval: {count_words: yes}\n", "approval.count_words"),
        (GOOD + "limits: {approval_seconds: 0}\n", "limits.approval_seconds"),
        (GOOD.replace("helper", "other"), "name: is 'other'"),
        (GOOD.replace("helper", "Help Er"), "name"),
        (GOOD.replace("Help.", "''"), "instructions"),
    ],
)
def test_a_bad_file_is_told_with_its_path_the_field_and_the_reason(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "helper.yaml"
    path.write_text(text)
    with pytest.raises(AgentError) as raised:
        load_agents(tmp_path, "helper", REGISTRY)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_a_file_that_is_not_utf_8_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "helper.yaml").write_bytes(b"name: \xff")
    with pytest.raises(AgentError, match=r"helper\.yaml"):
        load_agents(tmp_path, "helper", REGISTRY)


def test_every_wrong_field_is_told(tmp_path: Path) -> None:
    (tmp_path / "helper.yaml").write_text("name: helper\n")
    with pytest.raises(AgentError) as raised:
        load_agents(tmp_path, "helper", REGISTRY)
    assert len(str(raised.value).splitlines()) == 2


def test_a_missing_default_agent_is_told(tmp_path: Path) -> None:
    (tmp_path / "helper.yaml").write_text(GOOD)
    with pytest.raises(AgentError, match=r"'boss'.*found: helper"):
        load_agents(tmp_path, "boss", REGISTRY)
