"""HTTP triggers of the streaming model: Starlette requests, responses that flow."""

from collections.abc import Iterator

import httpx

from tests.devhost_process import DevHost


def test_events_flow_one_by_one_and_a_client_that_leaves_ends_the_generator(streaming: DevHost) -> None:
    with httpx.stream("GET", f"{streaming.url}/api/ticks", timeout=10) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = response.iter_text()
        assert next(chunks) == "data: 1\n\n"
        # The second event cannot have been produced before the first one was here.
        httpx.post(f"{streaming.url}/api/gate")
        assert next(chunks) == "data: 2\n\n"
    assert httpx.get(f"{streaming.url}/api/ended", timeout=10).status_code == 200
    assert "[ticks]" in streaming.wait_for_line("the stream has ended")


def test_a_request_body_arrives_in_chunks(streaming: DevHost) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    counted = httpx.post(f"{streaming.url}/api/upload", content=body()).json()
    assert counted["bytes"] == 2_000_000
    assert counted["chunks"] > 1


def test_the_environment_wins_over_local_settings(streaming: DevHost) -> None:
    assert httpx.get(f"{streaming.url}/api/document").json() == {"setting": "from the environment"}


def test_an_exception_becomes_a_500(streaming: DevHost) -> None:
    response = httpx.get(f"{streaming.url}/api/failing")
    assert response.status_code == 500
    assert "LookupError: no such thing" in response.text


def test_a_function_that_returns_nothing_is_a_500(streaming: DevHost) -> None:
    assert httpx.get(f"{streaming.url}/api/nothing").status_code == 500


def test_an_exception_in_the_middle_of_a_stream_is_logged(streaming: DevHost) -> None:
    with httpx.stream("GET", f"{streaming.url}/api/breaks") as response:
        assert next(response.iter_text()) == "before"
    streaming.wait_for_line("LookupError: in the middle of a stream")


def test_a_durable_client_starts_an_orchestration(streaming: DevHost) -> None:
    links = httpx.post(f"{streaming.url}/api/orchestrators/greet_all", json=["Ada", "Grace"]).json()
    assert links["statusQueryGetUri"].startswith(f"{streaming.url}/runtime/webhooks/durabletask/instances/")
    answer = httpx.get(links["statusQueryGetUri"])
    while answer.status_code == 202:
        answer = httpx.get(links["statusQueryGetUri"])
    assert answer.json()["output"] == ["Hello Ada!", "Hello Grace!"]
