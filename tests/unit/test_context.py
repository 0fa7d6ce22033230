"""How much of a conversation a model sees."""

from hypothesis import given
from hypothesis import strategies as st

from perdure.domain.context import MAX_EXCERPT, OVERHEAD, SUMMARISE, first_kept, remembered, summary_request, tokens
from perdure.domain.messages import Message, ToolCall


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str) -> Message:
    return Message("assistant", text)


def turn_with_tools(size: int) -> list[Message]:
    calls = tuple(ToolCall(f"c{n}", "t", "{}") for n in range(2))
    results = [Message("tool", "r" * size, tool_call_id=call.id) for call in calls]
    return [user("q" * size), Message("assistant", "", calls), *results, said("a" * size)]


def test_everything_is_kept_while_it_fits() -> None:
    messages = turn_with_tools(100)
    assert first_kept(messages, sum(map(tokens, messages))) == 0
    assert first_kept([], 100) == 0


def test_the_cut_falls_between_turns() -> None:
    messages = [*turn_with_tools(100), *turn_with_tools(100)]
    assert first_kept(messages, sum(map(tokens, messages)) - 1) == 5


def test_a_turn_too_long_by_itself_is_cut_between_a_result_and_what_follows() -> None:
    messages = turn_with_tools(100)
    assert first_kept(messages, tokens(messages[-1])) == 4
    assert first_kept(messages, tokens(messages[-1]) + tokens(messages[-2])) == 4
    assert first_kept(messages, 0) == 5


@given(
    st.lists(st.sampled_from(["u", "a", "t"]), max_size=8).map(
        lambda kinds: [
            message
            for kind in kinds
            for message in {"u": [user("hello")], "a": [said("world" * 9)], "t": turn_with_tools(40)}[kind]
        ]
    ),
    st.integers(0, 200),
)
def test_what_is_kept_fits_and_never_starts_with_a_result(messages: list[Message], budget: int) -> None:
    kept = messages[first_kept(messages, budget) :]
    assert sum(map(tokens, kept)) <= budget
    assert not kept or kept[0].role != "tool"


def test_a_call_counts_with_its_arguments() -> None:
    assert tokens(Message("assistant", "", (ToolCall("cd", "ab", "x" * 36),))) == OVERHEAD + 10


def test_a_summary_is_asked_for_with_bounded_excerpts_of_the_newest() -> None:
    messages = [user("old " * 100), *(user("x" * 50_000) for _ in range(3)), said("newest")]
    instructions, asked = summary_request("before", messages, budget=1100)
    assert instructions == Message("system", SUMMARISE)
    assert "before" in asked.content
    assert asked.content.endswith("newest")
    assert asked.content.count("x" * MAX_EXCERPT) == 2
    assert "old" not in asked.content
    assert len(asked.content) < 5000


def test_a_summary_is_told_as_such() -> None:
    assert "<summary>\nThey like tea.\n</summary>" in remembered("They like tea.").content
