"""A model that follows a script: what it expects to be asked, and what it then answers or how it fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from perdure.domain.messages import Message, ModelReply
from perdure.models.port import ModelRequest, OnText


@dataclass(frozen=True, slots=True)
class ModelStep:
    """One turn of the script.

    Attributes:
        expects: A fragment that the last message's content must contain, or a function of the request that returns
            True for the expected one or raises AssertionError itself. "" expects anything.
        reply: What the model answers, or the exception it raises.
    """

    expects: str | Callable[[ModelRequest], bool | None]
    reply: ModelReply | Exception


class ScriptedModel:
    """Implements `perdure.models.port.Model` from a list of steps. As a context manager it verifies at the end.

    Attributes:
        requests: Every request it was asked, in order.
    """

    def __init__(self, steps: Sequence[ModelStep]) -> None:
        self._steps = list(steps)
        self.requests: list[ModelRequest] = []
        self.closed = False

    async def reply(self, request: ModelRequest, on_text: OnText | None = None) -> ModelReply:
        position = len(self.requests)
        self.requests.append(request)
        if position >= len(self._steps):
            raise AssertionError(f"The script has {len(self._steps)} steps; unexpected request:\n{_shown(request)}")
        step = self._steps[position]
        if not _as_expected(step, request):
            raise AssertionError(f"Step {position} expects {step.expects!r}; the request was:\n{_shown(request)}")
        if isinstance(step.reply, Exception):
            raise step.reply
        if on_text is not None and step.reply.text:
            await on_text(step.reply.text)
        return step.reply

    async def close(self) -> None:
        self.closed = True

    def verify(self) -> None:
        """Fail when a step of the script was never reached."""
        unused = self._steps[len(self.requests) :]
        if unused:
            raise AssertionError(
                f"{len(unused)} steps of the script were not used; the next expects {unused[0].expects!r}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A test that failed already has its reason; unused steps would only hide it.
        if error is None:
            self.verify()


def _as_expected(step: ModelStep, request: ModelRequest) -> bool:
    if isinstance(step.expects, str):
        return step.expects in (request.messages[-1].content if request.messages else "")
    return step.expects(request) is not False


def _shown(request: ModelRequest) -> str:
    tools = ", ".join(tool.name for tool in request.tools) or "none"
    lines = [f"  model {request.model}, tools: {tools}"]
    return "\n".join([*lines, *(_line(message) for message in request.messages)])


def _line(message: Message) -> str:
    calls = "".join(f" [{call.id} {call.name} {call.arguments}]" for call in message.tool_calls)
    answers = f" (answers {message.tool_call_id})" if message.tool_call_id else ""
    return f"  {message.role}{answers}: {message.content}{calls}"
