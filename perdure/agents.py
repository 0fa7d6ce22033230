"""Agent definitions: YAML files, one agent each, checked when the app starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from perdure.domain.budget import MICRO, Budget, Price
from perdure.domain.task import Agent, Limits, Offer
from perdure.tools.approval import NEVER, check_policy, stricter
from perdure.tools.asking import asking_name
from perdure.tools.registry import ToolRegistry

type AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]
type Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AgentError(Exception):
    """An agent file is wrong. The message names the file, the field and the reason, one problem a line."""


class LimitsDefinition(BaseModel):
    """Bounds of one task.

    Attributes:
        max_steps: Model turns; the task ends with reason `step_limit` when the last of them still asks for tools.
        max_seconds: Seconds from submission; then the task ends with reason `time_limit`.
        max_calls: Tool calls of one turn that are run; further ones are refused, and the model is told.
        context_tokens: Tokens of a thread's earlier messages the model sees; a summary stands for what is older.
        max_output_tokens: Tokens of one reply of the model, its reasoning included; a longer one is cut off.
        approval_seconds: Time to decide on a call that needs approval; then it is refused. Seconds that a task waits
            for a decision do not count towards `max_seconds`.
        outage_seconds: Longest time that a task waits for a model that is down, and for its fallbacks; then it ends
            with reason `degraded` and what it has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int = Field(default=20, ge=1, le=1000)
    max_seconds: float = Field(default=600, gt=0, le=7 * 24 * 3600)
    max_calls: int = Field(default=1000, ge=1, le=10_000)
    context_tokens: int = Field(default=16_000, ge=100, le=100_000)
    max_output_tokens: int = Field(default=4096, ge=16, le=1_000_000)
    approval_seconds: float = Field(default=24 * 3600, ge=1, le=7 * 24 * 3600)
    outage_seconds: float = Field(default=300, ge=0, le=7 * 24 * 3600)


class BudgetDefinition(BaseModel):
    """What one task may use; then it ends with reason `budget_exceeded`. Absent is any amount.

    Attributes:
        tokens: Tokens of messages and replies together, of all steps.
        usd: US dollars.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int | None = Field(default=None, ge=1, le=10**12)
    usd: float | None = Field(default=None, ge=1 / MICRO, le=10**6)

    @property
    def amount(self) -> Budget:
        micro = None if self.usd is None else round(Decimal(str(self.usd)) * MICRO)
        return Budget(self.tokens, micro)


class AgentDefinition(BaseModel):
    """One agent file.

    Attributes:
        name: By which a request asks for the agent; the file is called `<name>.yaml`.
        instructions: The system message.
        model: Model or deployment name; the configured default when absent.
        fallback: Models that are asked, in this order, while that one is down or when it cannot answer.
        tools: Names of the tools it may call.
        agents: Names of the agents it may ask. Each is offered to the model as a tool `ask_<name>`.
        budget: What one task may use; any amount when absent.
        approval: When a person must agree to a call of a tool, for those where the agent decides otherwise than the
            tool: `never`, `always`, or an expression over the arguments. It also holds for the agents it asks, beside
            what they decide themselves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: AgentName
    description: Text
    instructions: Text
    model: Text | None = None
    fallback: Annotated[tuple[Text, ...], Field(max_length=8)] = ()
    tools: tuple[str, ...] = ()
    agents: tuple[AgentName, ...] = ()
    approval: dict[str, str] = {}
    limits: LimitsDefinition = LimitsDefinition()
    budget: BudgetDefinition = BudgetDefinition()

    def models(self, default_model: str) -> tuple[str, ...]:
        """Its models, in the order in which they are asked, each once."""
        return tuple(dict.fromkeys((self.model or default_model, *self.fallback)))

    def policies(self, tools: ToolRegistry) -> dict[str, str]:
        """When a person must agree to a call, by tool: as the agent says, otherwise as the tool does."""
        return {tool.name: tool.approval for tool in tools.select(self.tools)} | self.approval


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents by name, and the one that runs when a request names none."""

    by_name: Mapping[str, AgentDefinition]
    default: str

    def get(self, name: str | None) -> AgentDefinition | None:
        return self.by_name.get(self.default if name is None else name)

    def asked_by(self, definition: AgentDefinition) -> list[AgentDefinition]:
        """The agents that one may ask."""
        return [self.by_name[name] for name in dict.fromkeys(definition.agents)]

    def models(self, definition: AgentDefinition, default_model: str) -> tuple[str, ...]:
        """The models of an agent and of those it may ask, directly or through others, each once."""
        below = (model for asked in self.asked_by(definition) for model in self.models(asked, default_model))
        return tuple(dict.fromkeys((*definition.models(default_model), *below)))

    def frozen(
        self,
        definition: AgentDefinition,
        default_model: str,
        tools: ToolRegistry,
        prices: Mapping[str, Price | None],
        above: Mapping[str, str] | None = None,
    ) -> Agent:
        """A definition as a task keeps it, with what its models cost, and with the agents it may ask.

        Args:
            above: When a person must agree to a call, by tool, as the agents say that ask this one.
        """
        limits = Limits(**definition.limits.model_dump())
        first, *others = (Offer(model, prices.get(model)) for model in definition.models(default_model))
        policies = dict(above or {})
        for tool, policy in definition.policies(tools).items():
            policies[tool] = stricter(policies.get(tool, NEVER), policy)
        approval = {tool: policies[tool] for tool in definition.tools if policies[tool] != NEVER}
        return Agent(
            name=definition.name,
            instructions=definition.instructions,
            model=first.model,
            tools=definition.tools,
            limits=limits,
            approval=approval,
            budget=definition.budget.amount,
            price=first.price,
            fallback=tuple(others),
            description=definition.description,
            agents=tuple(
                self.frozen(asked, default_model, tools, prices, policies) for asked in self.asked_by(definition)
            ),
        )


def load_agents(folder: Path, default: str, tools: ToolRegistry) -> Agents:
    """Read every `*.yaml` file of a folder.

    Raises:
        AgentError: A file is not as it should be, or the default agent is not among them.
    """
    paths = sorted(folder.glob("*.yaml"))
    agents = {path.stem: _load(path) for path in paths}
    for path in paths:
        _check(path, agents, tools)
    if default not in agents:
        found = ", ".join(agents) or "none"
        raise AgentError(f"{folder}: no agent {default!r}, which PERDURE_DEFAULT_AGENT asks for; found: {found}")
    return Agents(agents, default)


def _load(path: Path) -> AgentDefinition:
    try:
        definition = AgentDefinition.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        problems = (f"{path}: {_field(problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise AgentError("\n".join(problems)) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise AgentError(f"{path}: {error or 'nested too deeply'}") from error
    if definition.name != path.stem:
        raise AgentError(f"{path}: name: is {definition.name!r}, but the file is called {path.stem!r}")
    return definition


def _check(path: Path, agents: Mapping[str, AgentDefinition], tools: ToolRegistry) -> None:
    """Check an agent against the tools and the other agents."""
    definition = agents[path.stem]
    try:
        tools.select(definition.tools)
    except LookupError as error:
        raise AgentError(f"{path}: tools: {error}") from error
    for name in definition.agents:
        if asking_name(name) in definition.tools:
            raise AgentError(f"{path}: agents: {asking_name(name)!r}, which asks {name!r}, is also one of its tools")
    below = _below(path, agents, (path.stem,))
    in_reach = {tool for agent in below for tool in agent.tools}
    for name, policy in definition.approval.items():
        found = tools.get(name) if name in in_reach else None
        if found is None:
            raise AgentError(f"{path}: approval.{name}: it is not among the agent's tools, nor of those it asks")
        try:
            check_policy(policy, found.parameters["properties"])
        except ValueError as error:
            raise AgentError(f"{path}: approval.{name}: {error}") from error


def _below(path: Path, agents: Mapping[str, AgentDefinition], way: tuple[str, ...]) -> list[AgentDefinition]:
    """An agent, at the end of a way from the file's own, and all that may come to be asked from there."""
    found = [agents[way[-1]]]
    for name in found[0].agents:
        if name not in agents:
            near = get_close_matches(name, agents, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(agents)}"
            where = "" if len(way) == 1 else f" (asked by {way[-1]!r})"
            raise AgentError(f"{path}: agents: no agent is named {name!r}{where}; {hint}")
        if name in way:
            raise AgentError(f"{path}: agents: they go in a circle: {' -> '.join((*way, name))}")
        found += _below(path, agents, (*way, name))
    return found


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(the whole file)"
