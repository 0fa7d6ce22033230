"""Timer triggers: the three forms of a schedule, start-up, and a run by hand."""

from collections.abc import Iterator

import httpx
import pytest

from tests.devhost.conftest import APPS
from tests.devhost_process import DevHost


@pytest.fixture(scope="module")
def timers() -> Iterator[DevHost]:
    with DevHost(APPS / "timer") as host:
        yield host


def test_a_timer_fires_by_its_ncrontab_expression(timers: DevHost) -> None:
    assert "[every_second]" in timers.wait_for_line("cron fired, next 20")


def test_a_timer_fires_by_its_time_span(timers: DevHost) -> None:
    timers.wait_for_line("interval fired, past due False")


def test_a_timer_may_fire_on_startup_and_name_a_setting(timers: DevHost) -> None:
    timers.wait_for_line("startup fired")


def test_a_timer_is_run_by_hand_and_its_failure_is_logged(timers: DevHost) -> None:
    assert httpx.post(f"{timers.url}/admin/functions/by_hand", json={}).status_code == 202
    timers.wait_for_line("fired by hand")
    timers.wait_for_line("LookupError: the timer failed")


def test_only_functions_that_exist_are_run_by_hand(timers: DevHost) -> None:
    assert httpx.post(f"{timers.url}/admin/functions/nobody", json={}).status_code == 404
