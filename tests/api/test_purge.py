"""The nightly purge of durable history."""

from pathlib import Path

import httpx

from tests.app import App, make_app_folder, until


def test_histories_of_ended_tasks_are_purged_when_they_are_old_enough_and_the_tasks_stay(tmp_path: Path) -> None:
    with App(make_app_folder(tmp_path / "app"), {"PERDURE_KEEP_HISTORY_DAYS": "0.000001"}) as app:
        started = app.start("What is 2 + 3?")
        assert app.finish(started["task_id"])["status"] == "completed"
        until(lambda: httpx.get(started["statusQueryGetUri"]).status_code, lambda status: status == 200)

        def purge() -> int:
            httpx.post(f"{app.host.url}/admin/functions/purge_history", json={}).raise_for_status()
            return httpx.get(started["statusQueryGetUri"]).status_code

        until(purge, lambda status: status == 404)
        assert app.client.get(f"/agent/task/{started['task_id']}").json()["status"] == "completed"
