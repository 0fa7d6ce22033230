"""The conversation as a model sees it: messages, tool calls and what a model answers."""

from dataclasses import dataclass
from typing import Any, Literal

type Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model asks for.

    Attributes:
        id: The provider's name for the call, unique within one reply only. It pairs a result with its call and is
            never used as a key.
        name: The tool's name, exactly as the model wrote it (it may not exist).
        arguments: JSON text exactly as the model wrote it (it may not parse).
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation.

    Attributes:
        tool_calls: Only on an assistant message: the calls it asked for.
        tool_call_id: Only on a tool message: the `ToolCall.id` it answers.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; zero where it said nothing."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered in one turn: text, or tool calls, or both.

    Attributes:
        model: The model that answered, by the provider's name.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    model: str
