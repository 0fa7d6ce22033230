"""What tools were used for: how often, for how long, and what they said it cost."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from perdure.domain.task import CallState, LedgerEntry


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Calls of one tool that have an outcome.

    Attributes:
        failed: Those of them that failed, or of which nobody knows whether they did.
        milliseconds: How long they took, one after another.
        micro_usd: What they cost, as far as the tool said.
    """

    tool: str
    calls: int = 0
    failed: int = 0
    milliseconds: int = 0
    micro_usd: int = 0

    @property
    def amounts(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "tool"}


def tool_use(calls: Iterable[LedgerEntry], step: int) -> list[ToolUse]:
    """Sum up the calls of a step by tool. Calls that were refused before they ran are not use of a tool."""
    sums = dict[str, ToolUse]()
    for call in calls:
        if call.step != step or call.ended_at is None or call.started_at in (None, call.ended_at):
            continue
        sum = sums.get(call.tool, ToolUse(call.tool))
        took = round((call.ended_at - call.started_at).total_seconds() * 1000)
        sums[call.tool] = ToolUse(
            call.tool,
            sum.calls + 1,
            sum.failed + (call.state is not CallState.COMMITTED),
            sum.milliseconds + took,
            sum.micro_usd + call.micro_usd,
        )
    return [sums[name] for name in sorted(sums)]
