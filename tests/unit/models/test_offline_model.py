"""The offline model turn by turn."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import activities.tools
from perdure.domain.context import summary_request
from perdure.domain.messages import Message, ModelReply, ToolCall, ToolSpec, Usage
from perdure.models.offline import OfflineModel
from perdure.models.offline.model import MAX_CALLS
from perdure.models.port import ModelRequest
from perdure.tools.registry import discover

SHIPPED = [tool.spec for tool in discover(activities.tools)]
MARK = "rule-based stand-in"


def reply(messages: list[Message], tools: list[ToolSpec] = SHIPPED) -> ModelReply:
    return asyncio.run(OfflineModel().reply(ModelRequest("any", messages, tools)))


def user(text: str) -> list[Message]:
    return [Message("system", "Be brief."), Message("user", text)]


def answered(messages: list[Message], asked: ModelReply, *results: str) -> list[Message]:
    tools = [
        Message("tool", result, tool_call_id=call.id) for call, result in zip(asked.tool_calls, results, strict=True)
    ]
    return [*messages, Message("assistant", asked.text, asked.tool_calls), *tools]


def test_a_first_turn_asks_for_all_calls_at_once_with_a_thought_beside_them() -> None:
    asked = reply(user("What is 2 + 3 and what time is it in Oslo?"))
    assert asked.tool_calls == (
        ToolCall("call_0", "calculate", '{"expression": "2 + 3"}'),
        ToolCall("call_1", "current_time", '{"timezone": "Europe/Oslo"}'),
    )
    assert "calculate" in asked.text
    assert "current_time" in asked.text


def test_the_answer_gives_each_request_with_its_result_and_says_once_what_is_speaking() -> None:
    messages = user("What is 2 + 3 and what time is it in Oslo?")
    final = reply(answered(messages, reply(messages), "5", '{"time": "12:00", "weekday": "Monday"}'))
    assert final.tool_calls == ()
    assert "What is 2 + 3 → 5" in final.text
    assert "what time is it in Oslo? → time: 12:00, weekday: Monday" in final.text
    assert final.text.count(MARK) == 1


@pytest.mark.parametrize("result", ['{"error": "division by zero"}', "Error: division by zero"])
def test_a_failed_call_is_told_as_one(result: str) -> None:
    messages = user("calculate 1/0")
    final = reply(answered(messages, reply(messages), result))
    assert "this failed" in final.text
    assert "division by zero" in final.text


def test_a_call_without_a_result_is_told_as_failed() -> None:
    messages = user("calculate 1+1")
    asked = reply(messages)
    assert "no result" in reply([*messages, Message("assistant", asked.text, asked.tool_calls)]).text


def test_a_list_of_results_becomes_lines() -> None:
    messages = user("search docs for retries")
    rows = json.dumps({"passages": [{"text": "one", "score": 0.5}, {"text": "two", "score": 0.4}]})
    assert "\n  - text: one, score: 0.5\n  - text: two" in reply(answered(messages, reply(messages), rows)).text


def test_a_long_result_is_cut_and_says_so() -> None:
    messages = user("fetch https://example.com")
    assert "9000 characters in all" in reply(answered(messages, reply(messages), "x" * 9000)).text


def test_without_a_fitting_tool_the_answer_lists_what_there_is() -> None:
    declined = reply(user("Tell me a joke"))
    assert declined.tool_calls == ()
    assert "no tool for “Tell me a joke”" in declined.text
    assert all(tool.name in declined.text for tool in SHIPPED)
    assert declined.text.count(MARK) == 1


def test_without_any_tool_the_answer_says_so() -> None:
    assert "no tools" in reply(user("What is 2 + 2?"), []).text


def test_a_missing_argument_is_asked_for() -> None:
    assert "from_unit" in reply(user("convert 5")).text


def test_a_request_that_cannot_be_met_is_announced_and_told_beside_the_results() -> None:
    messages = user("Tell me a joke. What is 2+2?")
    asked = reply(messages)
    assert [call.name for call in asked.tool_calls] == ["calculate"]
    assert "cannot be met" in asked.text
    assert "no tool for “Tell me a joke.”" in reply(answered(messages, asked, "4")).text


def test_more_requests_than_one_reply_may_call_are_met_in_further_turns() -> None:
    messages = user("\n".join(f"{number}*2" for number in range(1, MAX_CALLS + 4)))
    first = reply(messages)
    assert len(first.tool_calls) == MAX_CALLS
    messages = answered(messages, first, *["x"] * MAX_CALLS)
    second = reply(messages)
    assert [call.id for call in second.tool_calls] == [f"call_{MAX_CALLS + at}" for at in range(3)]
    final = reply(answered(messages, second, "y", "y", "z"))
    assert final.tool_calls == ()
    assert final.text.count("→") == MAX_CALLS + 3


def test_only_what_follows_the_last_user_message_counts() -> None:
    messages = user("What is 2+3?")
    messages = answered(messages, reply(messages), "5")
    messages = [*messages, Message("assistant", "5"), Message("user", "And 4*4?")]
    asked = reply(messages)
    assert [call.arguments for call in asked.tool_calls] == ['{"expression": "4*4"}']
    final = reply(answered(messages, asked, "16"))
    assert "16" in final.text
    assert "2+3" not in final.text


def test_calls_another_model_made_are_answered_and_not_made_again() -> None:
    theirs = ToolCall("x", "calculate", '{"expression":"2+3"}')
    messages = [*user("What is 2 + 3?"), Message("assistant", "", (theirs,)), Message("tool", "5", tool_call_id="x")]
    final = reply(messages)
    assert final.tool_calls == ()
    assert "5" in final.text


def test_a_conversation_without_a_user_gets_an_answer() -> None:
    assert MARK in reply([Message("system", "Be brief.")]).text


def test_text_streams_in_pieces_that_add_up() -> None:
    pieces: list[str] = []

    async def take(text: str) -> None:
        pieces.append(text)

    final = asyncio.run(OfflineModel().reply(ModelRequest("any", user("Tell me a joke"), SHIPPED), take))
    assert len(pieces) > 1
    assert "".join(pieces) == final.text


def test_usage_counts_a_token_per_four_characters() -> None:
    final = reply([Message("user", "x" * 9)])
    assert final.usage == Usage(3, -(-len(final.text) // 4))
    assert final.model == "offline-rules"


# --- whatever the input ---

FRAGMENTS = (
    "time in Paris and convert 5 kg to miles 1,234 ' \" ( 2+2 % of http://a.b/c from search docs . ? , ; 1. - send x=1 "
    "{ } not true a ids: how many are"
)
WORDS = st.sampled_from(FRAGMENTS.split())
TEXTS = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=25).map(" ".join))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10))
TYPES = st.sampled_from(
    ["string", "integer", "number", "boolean", "array", "object", "null", "nonsense", 7, ["string", "null"]]
)
NAMES = st.one_of(
    st.text(max_size=8), st.sampled_from(["to", "from_unit", "url", "expression", "timezone", "city", "a b", "(", ""])
)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(NAMES, inner, max_size=4)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "properties": properties | SCALARS,
            "required": st.lists(NAMES | SCALARS, max_size=3) | SCALARS,
            "items": inner,
            "enum": st.lists(SCALARS, max_size=3) | SCALARS,
            "const": SCALARS,
            "anyOf": st.lists(inner, max_size=2),
            "$ref": st.sampled_from(["#", "#/$defs/A", "#/properties/to", "nowhere", ""]) | SCALARS,
            "$defs": properties,
            "format": st.sampled_from(["uri", "email", "date"]) | SCALARS,
        },
    )


SCHEMAS = st.recursive(SCALARS, schemas, max_leaves=8)
TOOLS = st.lists(st.builds(ToolSpec, NAMES, st.text(max_size=60), schemas(SCHEMAS)), max_size=3)


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS, TOOLS)
def test_any_query_with_any_tools_ends_in_an_answer(query: str, tools: list[ToolSpec]) -> None:
    messages = user(query)
    for _ in range(20):
        turn = reply(messages, tools)
        if not turn.tool_calls:
            assert turn.text.count(MARK) == 1
            return
        assert len({call.id for call in turn.tool_calls}) == len(turn.tool_calls)
        assert all(isinstance(json.loads(call.arguments), dict) for call in turn.tool_calls)
        messages = answered(messages, turn, *["result"] * len(turn.tool_calls))
    pytest.fail("no answer after 20 turns")


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS)
def test_any_query_to_the_shipped_tools_ends_in_calls_that_give_what_is_required(query: str) -> None:
    needed = {tool.name: set(tool.parameters.get("required", ())) for tool in SHIPPED}
    for call in reply(user(query)).tool_calls:
        assert needed[call.name] <= set(json.loads(call.arguments))


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(max_size=300))
def test_any_result_is_told(result: str) -> None:
    messages = user("What is 1 + 1?")
    assert MARK in reply(answered(messages, reply(messages), result)).text


def test_a_summary_is_an_excerpt_of_what_the_user_said_and_stays_bounded() -> None:
    summary = ""
    for number in range(40):
        said = [Message("user", f"I like tea number {number}. " + "x" * 500), Message("assistant", "Noted.")]
        summary = reply(summary_request(summary, said, 8000), []).text
    assert "tea number 39" in summary
    assert "Noted" not in summary
    assert len(summary) <= 1200
