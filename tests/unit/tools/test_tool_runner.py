"""One call of a tool, whatever the model wrote and whatever the tool does."""

import asyncio
import contextvars
import datetime as dt
import itertools
import json
import logging
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.tools import Tool, ToolContext, ToolError, ToolUnavailable, tool
from perdure.tools.runner import ToolOutcome, run_tool

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")


def run(called: Tool, context: ToolContext, arguments: str = "{}") -> ToolOutcome:
    return asyncio.run(run_tool(called, arguments, context))


def returning(value: Any, **policy: Any) -> Tool:
    @tool(**policy)
    async def give() -> Any:
        """Give a value."""
        return value

    return give


def raising(error: BaseException) -> tuple[Tool, Tool]:
    @tool
    def fail() -> None:
        """Fail."""
        raise error

    @tool(timeout=5)
    async def fail_async() -> None:
        """Fail."""
        raise error

    return fail, fail_async


@dataclass
class Reading:
    when: dt.datetime
    value: Decimal


def test_text_is_returned_as_it_is(context: ToolContext) -> None:
    assert run(returning('a "text"\n'), context) == ToolOutcome('a "text"\n', is_error=False)


def test_anything_else_is_compact_json(context: ToolContext) -> None:
    reading = Reading(dt.datetime(2026, 1, 31, tzinfo=dt.UTC), Decimal("1.50"))
    outcome = run(returning({"é": [reading, None, {1}]}), context)
    assert outcome.content == '{"é":[{"when":"2026-01-31T00:00:00Z","value":"1.50"},null,[1]]}'


def test_numbers_that_are_no_json_become_text(context: ToolContext) -> None:
    assert run(returning([float("nan"), float("inf")]), context).content == '["NaN","Infinity"]'


def test_half_characters_are_replaced_because_nothing_can_store_them(context: ToolContext) -> None:
    assert run(returning("a\ud800b"), context).content.encode().startswith(b"a\xef\xbf\xbd")
    assert run(returning(["\ud800"]), context).content.encode()


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [object(), circular(), [10**5000], threading.Lock()], ids=["object", "circle", "huge", "lock"]
)
def test_a_result_that_is_no_json_is_told_as_the_fault_of_the_tool(context: ToolContext, value: Any) -> None:
    outcome = run(returning(value), context)
    assert outcome.is_error
    assert "cannot be written as JSON" in outcome.content
    assert "fault of the tool" in outcome.content


def test_a_result_of_exactly_the_limit_passes(context: ToolContext) -> None:
    assert not run(returning("éé", max_result_bytes=4), context).is_error


def test_a_larger_result_is_refused_counting_bytes(context: ToolContext) -> None:
    outcome = run(returning("ééé", max_result_bytes=5), context)
    assert outcome == ToolOutcome("give returned 6 bytes, over its limit of 5: narrow the request.", is_error=True)


def test_the_context_is_given_to_a_tool_that_wants_it(context: ToolContext) -> None:
    @tool
    def who(greeting: str, caller: ToolContext) -> str:
        """Say who calls."""
        return f"{greeting} {caller.user_id} {caller.idempotency_key}"

    assert run(who, context, '{"greeting":"hello"}').content == "hello user-1 key-1"


def test_the_context_cannot_be_written_by_the_model(context: ToolContext) -> None:
    @tool
    def who(caller: ToolContext) -> str:
        """Say who calls."""
        return caller.user_id

    assert "caller is no parameter" in run(who, context, '{"caller":{"user_id":"root"}}').content


def test_arguments_that_do_not_fit_are_told_and_the_tool_does_not_run(context: ToolContext) -> None:
    assert run(returning("ran"), context, '{"x":1}').is_error


@pytest.mark.parametrize("form", [0, 1], ids=["sync", "async"])
class TestFailures:
    def test_a_tool_error_is_shown_as_it_is(self, context: ToolContext, form: int) -> None:
        assert run(raising(ToolError("No such city: try Bern."))[form], context) == ToolOutcome(
            "No such city: try Bern.", is_error=True
        )

    def test_a_tool_error_without_words_still_says_something(self, context: ToolContext, form: int) -> None:
        assert "failed without saying why" in run(raising(ToolError())[form], context).content

    def test_an_unavailable_tool_leaves_as_an_exception(self, context: ToolContext, form: int) -> None:
        with pytest.raises(ToolUnavailable, match="down"):
            run(raising(ToolUnavailable("down"))[form], context)

    def test_an_unexpected_exception_is_told_by_type_and_message_and_logged_with_its_traceback(
        self, context: ToolContext, form: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR):
            outcome = run(raising(ZeroDivisionError("by zero"))[form], context)
        assert outcome.content in (
            "fail failed: ZeroDivisionError: by zero",
            "fail_async failed: ZeroDivisionError: by zero",
        )
        assert "Traceback" in caplog.text
        assert "by zero" not in caplog.text  # What it says may quote what a user said.
        assert "task-1" in caplog.text

    @pytest.mark.parametrize(
        "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), asyncio.CancelledError(), GeneratorExit()]
    )
    def test_no_exception_of_a_tool_ends_the_host(self, context: ToolContext, form: int, error: BaseException) -> None:
        outcome = run(raising(error)[form], context)
        assert outcome.is_error
        assert "failed: " in outcome.content

    def test_a_time_out_of_the_tools_own_is_not_ours(self, context: ToolContext, form: int) -> None:
        assert "failed: TimeoutError: of its own" in run(raising(TimeoutError("of its own"))[form], context).content

    def test_a_very_long_message_is_cut(self, context: ToolContext, form: int) -> None:
        assert len(run(raising(ValueError("x" * 100_000))[form], context).content) < 600

    def test_an_exception_that_cannot_describe_itself_is_named(self, context: ToolContext, form: int) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        assert run(raising(MuteError())[form], context).content.endswith("failed: MuteError")


def test_a_coroutine_over_time_is_stopped(context: ToolContext) -> None:
    stopped = threading.Event()

    @tool(timeout=0.05, idempotent=True)
    async def dawdle() -> None:
        """Dawdle."""
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    assert run(dawdle, context).content == "dawdle timed out after 0.05 s and was stopped; ask for less."
    assert stopped.is_set()


def test_a_coroutine_that_ignores_cancellation_is_left_behind(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.tools.runner.CLEANUP_SECONDS", 0.05)

    async def scenario() -> ToolOutcome:
        release = asyncio.Event()

        @tool(timeout=0.05)
        async def stubborn() -> None:
            """Stay."""
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        outcome = await run_tool(stubborn, "{}", context)
        release.set()
        return outcome

    content = asyncio.run(scenario()).content
    assert "was abandoned and may still be running; it may have taken effect" in content


def test_a_thread_over_time_is_abandoned_and_holds_nothing_up(context: ToolContext) -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def stuck() -> None:
        """Hang."""
        release.wait(30)

    started = time.monotonic()
    outcome = run(stuck, context)
    assert time.monotonic() - started < 5
    assert "stuck timed out after 0.05 s and was abandoned and may still be running" in outcome.content
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "tool stuck"] == [True]
    release.set()


def test_stuck_threads_do_not_starve_other_calls(context: ToolContext) -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def stuck() -> None:
        """Hang."""
        release.wait(30)

    @tool
    def quick() -> str:
        """Answer."""
        return "here"

    async def scenario() -> ToolOutcome:
        await asyncio.gather(*(run_tool(stuck, "{}", context) for _ in range(60)))
        return await run_tool(quick, "{}", context)

    assert asyncio.run(scenario()).content == "here"
    release.set()


def test_context_variables_reach_the_thread(context: ToolContext) -> None:
    @tool
    def read() -> str:
        """Read."""
        return request_id.get()

    request_id.set("r-1")
    assert run(read, context).content == "r-1"


def test_cancelling_the_call_cancels_the_tool(context: ToolContext) -> None:
    async def scenario() -> list[str]:
        happened: list[str] = []
        begun = asyncio.Event()

        @tool
        async def long_work() -> None:
            """Work."""
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                happened.append("cleaned up")

        call = asyncio.create_task(run_tool(long_work, "{}", context))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return happened

    assert asyncio.run(scenario()) == ["cleaned up"]


@tool
async def anything(text: str = "", number: int = 0, items: list[dict[str, Any]] | None = None) -> str:
    """Take anything."""
    return text


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "number", "items"]) | st.text(), inner),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | json_like.map(json.dumps))
def test_no_text_a_model_writes_makes_a_call_raise(context: ToolContext, arguments: str) -> None:
    run(anything, context, arguments).content.encode()


def test_a_generator_is_refused_and_not_consumed(context: ToolContext) -> None:
    outcome = run(returning(itertools.count()), context)
    assert outcome.is_error
    assert "must return a list" in outcome.content


def test_writing_a_slow_result_counts_as_time_of_the_tool(context: ToolContext) -> None:
    class Slow(pydantic.BaseModel):
        @pydantic.computed_field
        def late(self) -> str:
            time.sleep(0.5)
            return "late"

    assert "timed out after 0.1 s" in run(returning(Slow(), timeout=0.1), context).content
