"""A devhost in a process of its own, as a user starts it, for tests that talk HTTP to a function app."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parent.parent

_READY = "Host ready on "
START_SECONDS = 30
STOP_SECONDS = 10
WAIT_SECONDS = 60


class DevHostError(AssertionError):
    """The host did not do what the test needs; the message ends with everything the host printed."""


class DevHost:
    """``python -m devhost APP_DIR --port 0 ...``, ready once entered.

    Args:
        app_dir: Folder of ``host.json``.
        env: Added to this process's environment.
        args: More arguments of the command line.
        python: The interpreter, and its own options.
    """

    def __init__(
        self,
        app_dir: Path | str,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        kept = () if {"--state", "--ephemeral"} & {*args} else ("--ephemeral",)
        self._command = [*python, "-m", "devhost", str(app_dir), "--port", "0", *kept, *args]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        """``http://127.0.0.1:PORT``, once the host is ready."""

    def __enter__(self) -> Self:
        self.start()
        try:
            self.url = self.wait_for_line(_READY).partition(_READY)[2].strip()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the process without waiting for it to be ready."""
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def output(self) -> str:
        """Everything printed so far, standard output and error together."""
        with self._changed:
            return "".join(self._lines)

    @property
    def pid(self) -> int:
        """Process id of the host."""
        assert self._process is not None, "not started"
        return self._process.pid

    def wait_for_line(self, text: str, seconds: float = START_SECONDS) -> str:
        """The first printed line that contains ``text``.

        Raises:
            DevHostError: It was not printed in time, or the process ended without.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self._lines:
                    if text in line:
                        return line
                if self._ended or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
                if time.monotonic() >= deadline:
                    break
        raise DevHostError(f"the host never printed {text!r}:\n{self.output}")

    def wait_for_exit(self, seconds: float = START_SECONDS) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process is not None, "not started"
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise DevHostError(f"the host did not end in {seconds} s:\n{self.output}") from error
        with self._changed:
            self._changed.wait_for(lambda: self._ended, 5)
        return code

    def stop(self, sent: signal.Signals = signal.SIGINT) -> int:
        """Stops the host as Ctrl-C does and returns its exit code; a host that has ended stays as it is."""
        assert self._process is not None, "not started"
        if self._process.poll() is None:
            self._process.send_signal(sent)
        return self.wait_for_exit(STOP_SECONDS)

    def kill(self) -> None:
        """Ends the process at once, as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        with self._process.stdout as printed:
            for line in printed:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def until[T](act: Callable[[], T], done: Callable[[T], bool], seconds: float = WAIT_SECONDS, every: float = 0.02) -> T:
    """Repeat an action until its result is as wanted."""
    deadline = time.monotonic() + seconds
    while not done(result := act()):
        assert time.monotonic() < deadline, f"not within {seconds} s; at last: {result}"
        time.sleep(every)
    return result
