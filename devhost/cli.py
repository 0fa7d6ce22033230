"""The command line."""

import argparse
import asyncio
import ipaddress
import logging
import os
import sys
import threading
import time

from devhost.config import (
    DEFAULT_STATE,
    app_folder,
    apply_local_settings,
    load_cors,
    load_host_config,
    state_folder,
)
from devhost.console import complain, configure_logging
from devhost.errors import HostError, IndexingError
from devhost.host import Host
from devhost.keys import Keys
from devhost.server import listen
from devhost.worker import Worker

DEFAULT_PORT = 7071
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_THREAD_GRACE_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Runs the host.

    Returns:
        The exit code: 0 after Ctrl-C or SIGTERM, 1 if the host or the app cannot start, 2 for a wrong command line.
    """
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except IndexingError as error:
        if error.app_traceback:
            complain(error.app_traceback.rstrip())
        complain(f"devhost: the function app could not be loaded: {error}")
        return 1
    except HostError as error:
        complain(f"devhost: {error}")
        return 1
    except KeyboardInterrupt:
        # Pressed before the server was up, or again while it stopped.
        return 0
    return 0


async def _run(options: argparse.Namespace) -> None:
    app_dir = app_folder(options.app_dir)
    apply_local_settings(app_dir, os.environ)
    config, cors = load_host_config(app_dir), load_cors(app_dir)
    listener = listen(options.host, options.port)
    address, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(address).is_loopback:
        complain(f"devhost: warning: {address} can be reached from other machines")
    worker = Worker()
    configure_logging(config.log_levels, worker.running_function)
    origin = f"http://{_in_url(address)}:{port}"
    keys = Keys(enforced=options.enable_auth)
    _describe_environment(address, port)
    names = (*LOOPBACK_NAMES, _in_url(options.host), _in_url(address))
    state = None if options.ephemeral else state_folder(app_dir, options.state)
    await Host(app_dir, config, cors, worker, keys, listener, origin, names, state, options.on_ready).run()
    _leave_hanging_threads()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _describe_environment(address: str, port: int) -> None:
    """Sets what Core Tools sets, for apps that ask where they are."""
    os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
    os.environ.setdefault("WEBSITE_HOSTNAME", f"{address}:{port}")


def _leave_hanging_threads() -> None:
    """Ends the process if a synchronous function still runs: Python would wait for its thread for ever."""
    deadline = time.monotonic() + _THREAD_GRACE_SECONDS
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost",
        description="Runs an Azure Functions app on this machine, without Core Tools.",
        epilog="python -m devhost inspect [APP_DIR] [ID] shows what its task hub keeps; an app in a folder of that name"
        " is ./inspect.",
    )
    parser.add_argument("app_dir", nargs="?", default=".", metavar="APP_DIR", help="folder of host.json (default: .)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 for any free port (default: %(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to listen on; requests must call the host by it, or by localhost (default: %(default)s)",
    )
    parser.add_argument(
        "--on-ready",
        default="",
        metavar="COMMAND",
        help="shell command to run once the host is ready; {url} is its address",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--state", metavar="DIR", help=f"folder that keeps orchestrations (default: {DEFAULT_STATE} in APP_DIR)"
    )
    kept.add_argument("--ephemeral", action="store_true", help="forget all orchestrations when the host ends")
    parser.add_argument("--enable-auth", action="store_true", help="ask for function keys, as Azure does")
    return parser
