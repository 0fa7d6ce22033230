"""What the thread routes do, and how a task gets into its thread."""

from datetime import UTC, datetime

from perdure.api.problems import Conflict, NotFound
from perdure.bootstrap import Services
from perdure.documents.port import DocumentMissing
from perdure.domain.principal import Principal
from perdure.domain.thread import Thread, ThreadBusy, enter, enter_or_wait, thread_key


async def own_thread(app: Services, who: Principal, thread_id: str) -> Thread:
    """Read a thread of the caller's. Raises NotFound. Others' threads of that name are others'."""
    thread = await app.threads.get(who.tenant, thread_key(who.user, thread_id))
    if thread is None:
        raise NotFound(f"There is no thread {thread_id[:64]!r}; a task with a thread_id starts one.")
    return thread


async def enter_thread(app: Services, who: Principal, thread_id: str, task_id: str, if_busy: str) -> None:
    """Make a new task the thread's writer, or let it wait; a thread that is not there yet is started.

    Raises:
        Conflict: The thread is busy and the task is not to wait, or too many wait already.
    """
    now = datetime.now(UTC)
    entering = enter_or_wait if if_busy == "queue" else enter
    key = thread_key(who.user, thread_id)
    new = Thread(key, thread_id, who.tenant, who.user, created_at=now, updated_at=now)
    # Again only if the thread was erased between the two.
    while not await app.threads.add(entering(new, task_id, now)):
        try:
            await app.threads.change(who.tenant, key, lambda thread: entering(thread, task_id, now))
        except DocumentMissing:
            continue
        except ThreadBusy as busy:
            said = f"The thread {thread_id!r} is busy: {busy}. Try later, or ask to wait: if_busy=queue."
            raise Conflict(said) from busy
        return
