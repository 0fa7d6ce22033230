"""Limits of an app, as its users meet them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.api.test_http import problem
from tests.app import App, make_app_folder


def test_a_user_over_the_limit_is_told_when_to_come_back_and_others_are_served(tmp_path: Path) -> None:
    with App(make_app_folder(tmp_path / "app"), {"PERDURE_LIMIT_READ": "30"}) as app:
        ann, bob = app.client_for(app.make_key("ann")), app.client_for(app.make_key("bob"))
        # Twice the limit, so that at least one minute's is reached even if a new minute begins meanwhile.
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: ann.get("/agents"), range(64)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(answers) - len(refused) in range(30, 61)
        for answer in refused:
            problem(answer, 429)
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.headers["RateLimit-Policy"] == '"read";q=30;w=60'
        served = bob.get("/agents")
        assert (served.status_code, served.headers["RateLimit"].split(";")[:2]) == (200, ['"read"', "r=29"])
        # Other kinds of requests are counted apart; nobody is counted where nobody is known.
        assert ann.post("/agent/task", json={"query": ""}).status_code == 422
        assert "RateLimit" not in ann.get("/health").headers
