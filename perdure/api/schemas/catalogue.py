"""What a deployment offers, in responses."""

from typing import Any, Literal

from pydantic import BaseModel

from perdure.agents import BudgetDefinition, LimitsDefinition
from perdure.tools.tool import Tool


class AgentView(BaseModel):
    """An agent; `default` marks the one that runs when a request names none. The models of `fallback` stand in, and
    `agents` are those it may ask."""

    name: str
    default: bool
    description: str
    model: str
    fallback: list[str]
    tools: list[str]
    agents: list[str]
    limits: LimitsDefinition
    budget: BudgetDefinition


class AgentsView(BaseModel):
    """The agents a task may name."""

    agents: list[AgentView]


class ToolView(BaseModel):
    """A tool; `parameters` is the JSON Schema of its arguments, `timeout` and `cache_ttl` are seconds."""

    name: str
    description: str
    parameters: dict[str, Any]
    idempotent: bool
    once_per_turn: bool
    approval: str
    timeout: float
    max_result_bytes: int
    cache_ttl: int | None

    @classmethod
    def of(cls, tool: Tool) -> "ToolView":
        return cls(**{name: getattr(tool, name) for name in cls.model_fields})


class ToolsView(BaseModel):
    """The tools agents may use."""

    tools: list[ToolView]


class Health(BaseModel):
    """The store answers and fits the settings. `degraded` when something else is down, of the kinds in `down`."""

    status: Literal["ok", "degraded"]
    down: list[str]
