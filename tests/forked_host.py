"""Devhosts that start in a moment, to be killed by the hundred.

They are forked from a process that has imported the libraries already. That is the only difference from `python -m
devhost`: the app is loaded anew in every one of them.
"""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.devhost_process import until

_PRELOADED = ["devhost.cli", "azure.durable_functions", "azure.functions", "tests.forked_host"]

type Prepare = Callable[[], None]


def context(*modules: str) -> multiprocessing.context.ForkServerContext:
    """Where hosts come from.

    Args:
        modules: What else is imported before there are any.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([*_PRELOADED, *modules])
    return forks


class ForkedHost:
    """A devhost that is to be killed, on a port that it keeps over all its lives.

    Args:
        app_dir: Folder of ``host.json``.
        state: Folder of the task hub.
        printed: File that takes what the host prints, of all lives.
        settings: Added to the environment.
        args: More arguments of the command line.
        modules: What is imported before it is forked.
    """

    def __init__(
        self,
        app_dir: Path,
        state: Path,
        printed: Path,
        settings: Mapping[str, str],
        args: Sequence[str] = (),
        modules: Sequence[str] = (),
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.printed = printed
        self._arguments = [str(app_dir), "--port", str(self.port), "--state", str(state), *args]
        self._settings = dict(settings)
        self._forks = context(*modules)
        self._process: multiprocessing.process.BaseProcess | None = None

    def begin(self, prepare: Prepare | None = None) -> None:
        """Starts a life, without waiting for anything; the one before is over, if it was not.

        Args:
            prepare: Called in the new process before the host is run; a function of a module.
        """
        if self._process is not None:
            self.kill()
        work = (self._arguments, self._settings, self.printed, prepare)
        self._process = self._forks.Process(target=_live, args=work, daemon=True)
        self._process.start()

    def wait_until_ready(self) -> None:
        """Waits until it accepts connections."""
        until(self.answers_or_died, bool)
        assert self._process is not None and self._process.exitcode is None, self.printed.read_text("utf-8")[-4000:]

    def kill(self) -> None:
        """Ends it as a power cut ends it."""
        assert self._process is not None
        self._process.kill()
        self._process.join()
        self._process.close()
        self._process = None

    def answers_or_died(self) -> bool:
        """Whether it accepts connections, or never will."""
        assert self._process is not None
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return self._process.exitcode is not None
        return True

    def is_alive(self) -> bool:
        assert self._process is not None
        return self._process.exitcode is None

    def wait_for_death_or(self, other: Callable[[], bool]) -> bool:
        """Waits until it has died or something else has come to pass; whether it died."""
        until(lambda: not self.is_alive() or other(), bool)
        return not self.is_alive()

    def wait_for_death(self, seconds: float) -> bool:
        """Whether it ended by itself within that time."""
        assert self._process is not None
        self._process.join(seconds)
        return self._process.exitcode is not None

    def stop(self) -> None:
        """Ends it as Ctrl-C does; if it has not ended yet."""
        if self._process is not None:
            if self._process.pid is not None and self._process.is_alive():
                os.kill(self._process.pid, signal.SIGINT)
                self._process.join(10)
            self.kill()


def _live(arguments: list[str], settings: dict[str, str], printed: Path, prepare: Prepare | None) -> None:
    with printed.open("a", buffering=1) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.update(settings)
    sys.path.insert(0, arguments[0])
    # Only here, for the process that forks has imported it and others need not.
    from devhost.cli import main

    if prepare is not None:
        prepare()
    sys.exit(main(arguments))
