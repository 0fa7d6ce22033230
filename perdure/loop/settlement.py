"""Calls of a turn that were given up: their attempts are used up, or nothing was heard of them for too long.

Each gets an outcome here, whatever became of the attempts; one that comes late finds it and leaves it as it is.

- One that was dispatched is waited for while it may be at work. Then its outcome is unknown, and a person is asked.
- An agent that was asked and did not say how it ended is ended, and the call is told so.
- Any other failed: an idempotent tool did not get through, or the call was not even started.
"""

from dataclasses import replace
from datetime import UTC, datetime

from perdure.bootstrap import Services
from perdure.documents.port import DocumentChanged
from perdure.domain.next_step import Settled
from perdure.domain.references import CallRef, CallsRef, Closing
from perdure.domain.task import SETTLED, CallState, Reason
from perdure.loop import doubts
from perdure.loop.finish import finish

NOT_ENDED = "{tool} did not end in time, so there is no result."
NO_END = "The orchestration failed or was terminated; the log says why."
NOT_STARTED = "{tool} could not be started in time, so it was not run."


async def settle(app: Services, ref: CallsRef) -> Settled:
    """Settle calls, and say whether people are asked about some, and how long others are to be waited for."""
    awaiting, longest = False, 0.0
    for index in ref.calls:
        outcome = await _settle(app, CallRef(ref.tenant, ref.task, ref.step, index))
        if isinstance(outcome, float):
            longest = max(longest, outcome)
        else:
            awaiting = awaiting or outcome is CallState.UNKNOWN
    return Settled(awaiting, longest or None)


async def _settle(app: Services, ref: CallRef) -> CallState | float:
    """The outcome of a call, or the seconds for which it may still be at work."""
    while True:
        found, now = await app.tasks.call(ref), datetime.now(UTC)
        entry, tool = found.entry, app.tools.get(found.entry.tool)
        try:
            if entry.state in SETTLED:
                return entry.state
            if entry.asked is not None:
                await finish(app, Closing(ref.tenant, entry.asked, 0, Reason.INTERNAL_ERROR, NO_END))
                continue
            if entry.state is CallState.DISPATCHED:
                # A tool that a later deployment dropped is at work nowhere.
                left = doubts.seconds_at_work(entry, tool.timeout, now) if tool else 0.0
                return left or await doubts.ask(app, ref, found)
            told = NOT_ENDED if tool and tool.idempotent else NOT_STARTED
            content = entry.content or told.format(tool=entry.tool)
            failed = replace(entry, state=CallState.FAILED, content=content, ended_at=now)
            await app.tasks.put_call(ref, found, failed)
        except DocumentChanged:
            continue
        return CallState.FAILED
