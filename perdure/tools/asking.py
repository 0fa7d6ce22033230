"""Another agent as a tool: what a model is told of it, and what it may be asked. No function runs; a task does."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from perdure.domain.task import Agent
from perdure.tools.tool import Tool, ToolError, tool


@tool(idempotent=True)
def ask(query: Annotated[str, Field(max_length=100_000, pattern=r"\S")]) -> str:
    """Ask another agent.

    Args:
        query: What it is asked. It sees nothing else of this conversation, so say everything it needs to know.
    """
    raise ToolError(f"Nobody is there to answer {query[:64]!r}.")


def asking_name(agent: str) -> str:
    """Name the tool that asks an agent."""
    return f"ask_{agent}"


def asking(agent: Agent) -> Tool:
    """Make the tool that asks an agent."""
    return replace(ask, name=asking_name(agent.name), description=agent.description)
