"""A tool: a Python function an agent may call, what the model is told of it, and the policy it runs under.

Exception
├── ToolError          the model should read this, and may do better: the message is shown as it is
└── ToolUnavailable    something outside failed for now: an idempotent tool is tried again, otherwise a person is asked
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

from pydantic import BaseModel

from perdure.domain.budget import MICRO
from perdure.domain.messages import ToolSpec
from perdure.tools.approval import NEVER, check_policy
from perdure.tools.schema import declaration

LARGEST_RESULT_BYTES = 1024 * 1024
"""The most a tool may ask for as `max_result_bytes`: half of what a document may have."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""OpenAI accepts 64 characters; this leaves room for the `tool_` prefix of the activity."""

TIMEOUT = 30.0
"""Seconds a tool may run when it says nothing else."""

MAX_RESULT_BYTES = 64 * 1024
"""Result size when the tool says nothing else: about 16,000 tokens, which leaves a model room for several results."""


class ToolError(Exception):
    """What the model should read and may correct. The message is shown to it as it is."""


class ToolUnavailable(Exception):
    """A passing fault of something outside. The call of an idempotent tool is tried again; of another nobody knows
    whether it took effect, and a person is asked."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that answers a search.

    Attributes:
        document: The document's title.
        heading: The headings it stands under, outermost first, as in "Guide > Retries"; empty when there are none.
        start: Offset of its first character in the document.
        end: Offset just past its last character.
        score: Similarity to the query, higher is nearer.
        document_id: Tells documents of the same title apart.
    """

    document: str
    heading: str
    text: str
    start: int
    end: int
    score: float
    document_id: str


class DocumentSearch(Protocol):
    """Search over the documents of one tenant and user; it cannot reach anyone else's."""

    async def search(self, query: str, limit: int) -> list[Passage]:
        """Return at most `limit` passages, nearest first; empty when nothing is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Fact:
    """Something remembered of a user.

    Attributes:
        remembered_at: ISO 8601 instant.
        score: Similarity to the query, higher is nearer.
    """

    fact: str
    remembered_at: str
    score: float


class Facts(Protocol):
    """What is remembered of one user of one tenant; it cannot reach anyone else's."""

    async def remember(self, fact: str) -> bool:
        """Keep a fact; False when it was known already."""
        ...

    async def recall(self, query: str, limit: int) -> list[Fact]:
        """Return at most `limit` facts, nearest first; empty when nothing is remembered."""
        ...


class Outbox(Protocol):
    """Where messages in the name of one user wait to be sent. A transport of the deployment's own takes them there."""

    async def put(self, message: Mapping[str, object]) -> None:
        """Keep the one message of this call; done again by another attempt, it changes nothing."""
        ...


@dataclass(slots=True)
class Meter:
    """What an attempt at a call has cost so far."""

    micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who a tool is called for. A parameter annotated with it receives it and is hidden from the model.

    Attributes:
        idempotency_key: The same for every attempt at this call and for no other call. Pass it on to systems that
            take one, so that a repeated attempt has one effect.
    """

    tenant_id: str
    user_id: str
    task_id: str
    idempotency_key: str
    documents: DocumentSearch
    facts: Facts
    outbox: Outbox
    meter: Meter = field(default_factory=Meter)

    def spent(self, usd: float) -> None:
        """Say that this call cost something, in US dollars: what a search service asks for a query, say.

        It is shown with the call and in `GET /api/usage`. No budget counts it.
        """
        if not (math.isfinite(usd) and usd >= 0):
            raise ValueError(f"a cost is an amount of US dollars, not {usd!r}")
        self.meter.micro_usd += round(usd * MICRO)


@dataclass(frozen=True, eq=False, slots=True)
class Tool[**P = ..., R = Any]:
    """A declared tool. Calling it calls the function.

    Attributes:
        parameters: JSON Schema of the arguments, as the model is told.
        arguments: The pydantic model that validates them; each field's alias is the parameter's name.
        context_parameter: Name of the parameter that receives the context; None when there is none.
        idempotent: Whether a second run has no further effect. A tool that is not is never run again silently.
        approval: When a person must agree to a call: `never`, `always`, or when an expression over the arguments is
            true. An agent may decide otherwise.
        timeout: Seconds it may run.
        max_result_bytes: Size its result may have in UTF-8; a larger one becomes an error that the model reads.
        once_per_turn: Whether equal calls of one turn of the model are one call. A tool that gives something else each
            time, such as dice, says False.
        cache_ttl: Seconds for which an equal call may be answered from the cache; None never caches.
        version: Change it when equal arguments give another result than before: cached results are then forgotten.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[P, R]
    arguments: type[BaseModel]
    context_parameter: str | None
    idempotent: bool
    approval: str
    timeout: float
    max_result_bytes: int
    cache_ttl: int | None
    version: str = "1"
    once_per_turn: bool = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were not decorated: no validation, no time limit."""
        return self.function(*args, **kwargs)

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model is told of it."""
        return ToolSpec(self.name, self.description, self.parameters)

    @property
    def wants_context(self) -> bool:
        """Whether the function has a parameter for the context."""
        return self.context_parameter is not None

    @property
    def module(self) -> str:
        """Where the function is defined."""
        return self.function.__module__


class Declare(Protocol):
    """What `@tool(...)` with keywords returns: the decorator proper."""

    def __call__[**P, R](self, function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool[**P, R](function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    idempotent: bool = False,
    approval: str = NEVER,
    timeout: float = TIMEOUT,
    max_result_bytes: int = MAX_RESULT_BYTES,
    cache_ttl: int | None = None,
    version: str = "1",
    once_per_turn: bool = True,
) -> Declare: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    idempotent: bool = False,
    approval: str = NEVER,
    timeout: float = TIMEOUT,
    max_result_bytes: int = MAX_RESULT_BYTES,
    cache_ttl: int | None = None,
    version: str = "1",
    once_per_turn: bool = True,
) -> Any:
    """Declare a function as a tool, bare (`@tool`) or with its policy (`@tool(idempotent=True)`).

    The name is the function's, the description is the docstring before `Args:`, and the schema follows from the
    annotations and `Args:`. See `Tool` for what each keyword means.

    Raises:
        TypeError: The function cannot be a tool; the message says where and what would be right.
        ValueError: A policy value makes no sense.
    """

    def declare(function: Callable[..., Any]) -> Tool:
        declared = declaration(function, ToolContext)
        made = Tool(
            name=function.__name__,
            description=declared.description,
            parameters=declared.parameters,
            function=function,
            arguments=declared.arguments,
            context_parameter=declared.context_parameter,
            idempotent=idempotent,
            approval=approval,
            timeout=timeout,
            max_result_bytes=max_result_bytes,
            cache_ttl=cache_ttl,
            version=version,
            once_per_turn=once_per_turn,
        )
        _check_policy(made)
        return made

    return declare if function is None else declare(function)


def _check_policy(tool: Tool) -> None:
    where = f"tool {tool.name} ({tool.module})"
    if not NAME.fullmatch(tool.name):
        raise TypeError(f"{where}: the name must match {NAME.pattern}; rename the function")
    try:
        check_policy(tool.approval, tool.parameters["properties"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not (math.isfinite(tool.timeout) and tool.timeout > 0):
        raise ValueError(f"{where}: timeout is {tool.timeout!r}; give a positive number of seconds")
    if not 1 <= tool.max_result_bytes <= LARGEST_RESULT_BYTES:
        given = f"max_result_bytes is {tool.max_result_bytes!r}"
        raise ValueError(
            f"{where}: {given}; give a number from 1 to {LARGEST_RESULT_BYTES}, which fits a stored document"
        )
    if tool.cache_ttl is not None and tool.cache_ttl < 1:
        raise ValueError(f"{where}: cache_ttl is {tool.cache_ttl!r}; give at least 1 second, or None for no cache")
    if tool.cache_ttl is not None and not tool.idempotent:
        # An answer from the cache skips the function, and with it the effect somebody asked for.
        raise ValueError(f"{where}: only an idempotent tool can be cached; remove cache_ttl or add idempotent=True")
    if tool.cache_ttl is not None and tool.context_parameter is not None:
        # The cache is a whole tenant's, and what is known from the context is one user's.
        raise ValueError(f"{where}: a tool that asks for the context cannot be cached; remove cache_ttl")
