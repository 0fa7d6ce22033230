"""Who writes a thread, who waits, and who is next."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure.domain.thread import (
    LEASE,
    MAX_WAITING,
    LeaseLost,
    Place,
    Thread,
    ThreadBusy,
    enter,
    enter_or_wait,
    hold,
    leave,
    stay,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + LEASE + timedelta(seconds=1)
FREE = Thread("t", "name", "tenant", "user", NOW, NOW)


def waiting(thread: Thread) -> list[str]:
    return [place.task for place in thread.queue]


def test_a_free_thread_is_entered_at_once() -> None:
    assert enter(FREE, "a", NOW).writer(NOW) == "a"
    assert enter_or_wait(FREE, "a", NOW).writer(NOW) == "a"


def test_a_busy_thread_refuses_or_queues() -> None:
    busy = enter(FREE, "a", NOW)
    with pytest.raises(ThreadBusy, match="task a"):
        enter(busy, "b", NOW)
    queued = enter_or_wait(enter_or_wait(busy, "b", NOW), "c", NOW)
    assert (queued.writer(NOW), waiting(queued)) == ("a", ["b", "c"])


def test_nobody_overtakes_those_who_wait() -> None:
    thread = replace(FREE, queue=(Place("b", NOW + LEASE),))
    with pytest.raises(ThreadBusy):
        enter(thread, "c", NOW)


def test_the_first_that_waits_follows_the_one_that_leaves() -> None:
    thread = enter_or_wait(enter_or_wait(enter(FREE, "a", NOW), "b", NOW), "c", NOW)
    thread = leave(thread, "a", NOW)
    assert (thread.writer(NOW), waiting(thread)) == ("b", ["c"])
    thread = leave(thread, "c", NOW)
    assert leave(thread, "b", NOW) == FREE


def test_a_writer_that_gives_no_sign_of_life_is_followed_by_the_first_that_does() -> None:
    thread = enter_or_wait(enter_or_wait(enter(FREE, "a", NOW), "dead", NOW), "b", NOW + timedelta(seconds=60))
    thread = stay(thread, "b", LATER)
    assert (thread.writer(LATER), waiting(thread)) == ("b", [])
    with pytest.raises(LeaseLost):
        hold(thread, "a", LATER)


def test_a_writer_that_was_late_keeps_the_thread_while_nobody_else_took_it() -> None:
    assert hold(enter(FREE, "a", NOW), "a", LATER).writer(LATER) == "a"


def test_a_waiting_task_that_was_taken_for_dead_stands_at_the_end() -> None:
    thread = enter_or_wait(enter(FREE, "a", NOW), "b", NOW)
    thread = hold(thread, "a", LATER)
    thread = enter_or_wait(thread, "c", LATER)
    assert waiting(stay(thread, "b", LATER)) == ["c", "b"]


def test_the_queue_is_bounded() -> None:
    thread = enter(FREE, "a", NOW)
    for number in range(MAX_WAITING):
        thread = enter_or_wait(thread, str(number), NOW)
    with pytest.raises(ThreadBusy, match="wait"):
        enter_or_wait(thread, "one more", NOW)


ACTIONS = st.lists(st.tuples(st.sampled_from(["wait", "stay", "leave", "sleep"]), st.sampled_from("abcd")), max_size=40)


@given(ACTIONS)
@example([("wait", "a"), ("wait", "b"), ("sleep", "a"), ("sleep", "a"), ("stay", "c")])
def test_there_is_one_writer_at_most_it_never_waits_and_somebody_is_next_while_any_waits(
    actions: list[tuple[str, str]],
) -> None:
    thread, now, inside = FREE, NOW, set[str]()
    for action, task in actions:
        now += timedelta(seconds=1)
        # Only a task that is in the thread can look after it; without one, the dead stay where they are.
        looked_after = action in ("stay", "leave") and task in inside
        if action == "wait" and task not in inside:
            thread, inside = enter_or_wait(thread, task, now), inside | {task}
        elif action == "stay" and task in inside:
            thread = stay(thread, task, now)
        elif action == "leave" and task in inside:
            thread, inside = leave(thread, task, now), inside - {task}
        elif action == "sleep":
            now += LEASE / 2
        writer, queue = thread.writer(now), waiting(thread)
        assert len(set(queue)) == len(queue)
        assert writer not in queue
        if looked_after and queue:
            assert writer is not None
        assert {writer, *queue} - {None} <= inside


MINUTE = timedelta(minutes=1)
SKEW = {"slow": -MINUTE, "true": timedelta(0), "fast": MINUTE}
"""Machines by how far their clocks are from the true time."""

MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 29),
        st.sampled_from(["enter", "wait", "leave", "die", "look on"]),
        st.sampled_from(sorted(SKEW)),
        st.sets(st.sampled_from(sorted(SKEW))),
    ),
    max_size=30,
)
"""Seconds that pass, then what the task of one machine does, then whose tasks give a sign of life before they must."""

LATE = [(29, "look on", "true", set[str]()), (1, "look on", "true", set[str]())]


@given(MOMENTS)
@example([(1, "enter", "slow", set()), *LATE, (29, "wait", "fast", set())])
@example(
    [
        (1, "enter", "fast", set()), (1, "die", "fast", set()), *[(29, "look on", "true", set[str]())] * 5,
        (9, "wait", "slow", set()), (26, "look on", "true", set()), (28, "look on", "true", set()),
        (1, "wait", "fast", {"fast", "slow"}),
    ]
)  # fmt: skip
@example([(1, "enter", "slow", set()), (1, "wait", "true", set()), (1, "leave", "slow", set()), *LATE])
def test_no_two_living_tasks_whose_clocks_are_up_to_a_minute_off_write_at_the_same_moment_by_their_own_clocks(
    moments: list[tuple[int, str, str, set[str]]],
) -> None:
    """A task takes itself for the writer from what it stored last until that has run out by its own clock.

    Every living task gives a sign of life in less than a minute, as here at least every 59 s. It is safe while the
    clocks differ by less than LEASE less that interval, which is 180 - 59 s here; they differ by two minutes. Two
    minutes and a second break it, and so do two minutes with a sign of life every full minute, or a silence of three
    minutes between true clocks.
    """
    thread, now = FREE, NOW
    living: dict[str, str] = {}
    """The task of each machine, while there is one."""
    stored: dict[str, Thread] = {}
    """What each living task stored last."""
    signs: dict[str, datetime] = {}

    def act(machine: str, task: str, change: Callable[[Thread, str, datetime], Thread]) -> None:
        nonlocal thread
        thread = stored[task] = change(thread, task, now + SKEW[machine])
        living[machine], signs[task] = task, now
        assert sum(stored[one].writer(now + SKEW[its]) == one for its, one in living.items()) <= 1

    for number, (seconds, action, machine, early) in enumerate(moments):
        now += timedelta(seconds=seconds)
        task = living.get(machine)
        if action in ("enter", "wait") and task is None:
            with suppress(ThreadBusy):
                act(machine, f"{machine}-{number}", enter if action == "enter" else enter_or_wait)
        elif action == "leave" and task:
            thread = leave(thread, living.pop(machine), now + SKEW[machine])
        elif action == "die" and task:
            del living[machine]
        for its, one in list(living.items()):
            if its in early or now - signs[one] > timedelta(seconds=30):
                # A living writer must not find that another took the thread: LeaseLost would fail this test.
                act(its, one, hold if (lease := stored[one].lease) and lease.task == one else stay)


def test_a_clock_that_is_too_far_ahead_takes_the_thread_from_a_living_writer_which_then_writes_nothing_more() -> None:
    slow, fast = NOW - MINUTE, NOW + MINUTE
    thread = enter(FREE, "slow", slow)
    taken = enter(thread, "fast", fast + MINUTE)
    assert thread.writer(slow + MINUTE) == "slow"
    assert taken.writer(fast + MINUTE) == "fast"
    with pytest.raises(LeaseLost):
        hold(taken, "slow", slow + MINUTE)
