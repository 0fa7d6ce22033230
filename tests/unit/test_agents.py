"""Agent files: the shipped ones are right, and a wrong one is told where and why."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.agents import AgentError, Agents, load_agents
from perdure.domain.budget import FREE, Budget, Price
from perdure.domain.task import Agent, Offer
from perdure.settings import ROOT
from perdure.tools import tool
from perdure.tools.approval import is_needed
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
    assert set(agents.by_name) == {"assistant", "coordinator", "correspondent", "researcher"}
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


def write_agents(folder: Path, **files: str) -> None:
    for name, rest in files.items():
        (folder / f"{name}.yaml").write_text(GOOD.replace("helper", name) + rest)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"helper": "agents: [nobody]\n"}, "helper.yaml: agents: no agent is named 'nobody'; there are: helper"),
        ({"helper": "agents: [othr]\n", "other": ""}, "no agent is named 'othr'; did you mean 'other'?"),
        ({"helper": "agents: [helper]\n"}, "helper.yaml: agents: they go in a circle: helper -> helper"),
        (
            {"helper": "agents: [other]\n", "other": "agents: [third]\n", "third": "agents: [helper]\n"},
            "helper.yaml: agents: they go in a circle: helper -> other -> third -> helper",
        ),
        (
            {"helper": "agents: [other]\n", "other": "agents: [third]\n", "third": "agents: [other]\n"},
            "helper.yaml: agents: they go in a circle: helper -> other -> third -> other",
        ),
        (
            {"helper": "tools: [ask_other]\nagents: [other]\n", "other": ""},
            "helper.yaml: agents: 'ask_other', which asks 'other', is also one of its tools",
        ),
        ({"helper": "agents: [Not A Name]\n"}, "helper.yaml: agents.0: String should match pattern"),
        (
            {"helper": "agents: [other]\napproval: {wipe: always}\n", "other": ""},
            "helper.yaml: approval.wipe: it is not among the agent's tools, nor of those it asks",
        ),
        (
            {"helper": "agents: [other]\napproval: {ask_other: always}\n", "other": ""},
            "helper.yaml: approval.ask_other: it is not among the agent's tools, nor of those it asks",
        ),
    ],
)
def test_agents_that_cannot_be_asked_are_told(tmp_path: Path, files: dict[str, str], said: str) -> None:
    write_agents(tmp_path, **files)
    asking = replace(count_words, name="ask_other")
    with pytest.raises(AgentError) as raised:
        load_agents(tmp_path, "helper", ToolRegistry([count_words, wipe, asking]))
    assert said in str(raised.value)


def test_agents_that_are_asked_are_frozen_with_the_one_that_asks(tmp_path: Path) -> None:
    write_agents(
        tmp_path, helper="agents: [middle, deep]\n", middle="agents: [deep]\nfallback: [spare]\n", deep="model: big\n"
    )
    agents = load_agents(tmp_path, "helper", REGISTRY)
    agent = frozen(agents, "helper", REGISTRY, {"big": FREE})
    assert [one.name for one in agent.family] == ["helper", "middle", "deep", "deep"]
    assert [one.description for one in agent.agents] == ["Helps."] * 2
    assert agent.agents[1].price == FREE
    assert agents.models(agents.by_name["helper"], "small") == ("small", "spare", "big")


def test_the_stricter_rule_of_those_who_ask_and_of_the_one_that_is_asked_holds(tmp_path: Path) -> None:
    write_agents(
        tmp_path,
        helper="agents: [middle]\ntools: [count_words]\napproval: {count_words: len(text) > 5, wipe: never}\n",
        middle="agents: [deep]\n",
        deep="tools: [count_words, wipe]\napproval: {count_words: '\"x\" in text'}\n",
        alone="tools: [wipe]\napproval: {wipe: never}\n",
        strict="agents: [alone]\napproval: {wipe: always}\n",
    )
    registry = ToolRegistry([count_words, wipe])
    agents = load_agents(tmp_path, "helper", registry)
    deep = frozen(agents, "helper", registry).agents[0].agents[0].approval
    assert deep["wipe"] == "always", "what those above allow is no rule"
    asked = {text: is_needed(deep["count_words"], {"text": text}) for text in ("short", "longer", "x", "")}
    assert asked == {"short": False, "longer": True, "x": True, "": False}
    assert frozen(agents, "strict", registry).agents[0].approval == {"wipe": "always"}
    assert frozen(agents, "alone", registry).approval == {}, "asked by nobody, it is as it says"
