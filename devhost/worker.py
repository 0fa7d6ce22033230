"""Drives the worker library: index the app once, then one call for each invocation.

1. ``load`` imports the app's ``function_app.py`` through the library and returns its functions.
2. ``invoke`` hands the library an invocation request and returns what it answered.
"""

import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event

from devhost import protos
from devhost.errors import IndexingError
from devhost.protos import Message, ParameterBinding, TypedData

Binding = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """A function of the app, as its decorators declared it."""

    name: str
    function_id: str
    bindings: tuple[Binding, ...]

    @property
    def trigger(self) -> Binding:
        """The binding that starts the function."""
        return next(b for b in self.bindings if str(b["type"]).lower().endswith("trigger"))

    @property
    def trigger_type(self) -> str:
        """For example ``httpTrigger``."""
        return str(self.trigger["type"])

    @property
    def inputs(self) -> list[Binding]:
        """Input bindings other than the trigger."""
        return [b for b in self.bindings if b is not self.trigger and str(b.get("direction", "IN")).upper() == "IN"]

    @property
    def outputs(self) -> list[Binding]:
        """Output bindings, the return value among them."""
        return [b for b in self.bindings if str(b.get("direction", "IN")).upper() == "OUT"]


@dataclass(frozen=True)
class Failure:
    """An exception the function raised, as the worker reports it: ``message`` is ``"TypeName: text"``."""

    message: str
    stack_trace: str


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to: a failure, or a return value and named outputs."""

    failure: Failure | None = None
    return_value: TypedData | None = None
    outputs: Mapping[str, TypedData] = field(default_factory=dict[str, TypedData])


@dataclass(frozen=True)
class TraceContext:
    """W3C trace context of the caller; empty strings when there is none."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def started_by_host() -> "TraceContext":
        """A new trace, as Azure's host starts one for an invocation that came without."""
        return TraceContext(f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01")


def new_invocation_id() -> str:
    """An id for one run of a function."""
    return str(uuid.uuid4())


_running: ContextVar[str | None] = ContextVar("devhost_running_function", default=None)


_IMPORT_ADVICE = ". Cannot find module. Please check the requirements.txt"


def _indexing_error(message: str, stack_trace: str) -> IndexingError:
    if _IMPORT_ADVICE in message:
        # The library raises a failed import again with advice that fits Azure only; the first of the two is the app's.
        stack_trace = stack_trace.partition("\nDuring handling of the above exception")[0]
    return IndexingError(message.partition(_IMPORT_ADVICE)[0], stack_trace)


class Worker:
    """The app's functions, and the way to run them."""

    def __init__(self) -> None:
        # The library runs a synchronous function on a thread that inherits no context of ours, but does set its
        # invocation id there: hence this second way to the name.
        self._names_by_invocation: dict[str, str] = {}

    async def load(self, app_dir: Path) -> list[Function]:
        """Import and index the app.

        Args:
            app_dir: Folder of ``host.json`` and ``function_app.py``; becomes the working directory, as in Azure.

        Raises:
            IndexingError: The app's code raised, or declares something the library refuses.
        """
        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not (app_dir / script).is_file():
            raise IndexingError(f"no {script} in {app_dir}: nothing to run", "")
        os.chdir(app_dir)
        sys.path.insert(0, str(app_dir))
        # For streaming apps the library would start a second web server, for a host in another process. Ours is in
        # this one and hands requests over directly (see http_triggers).
        handle_event.initialize_http_server = lambda host_addr, **_: f"http://{host_addr}"
        runtime.start_threadpool_executor()
        init = Message(
            request=Message(worker_init_request=Message(capabilities={}, function_app_directory=str(app_dir))),
            properties={"host": "127.0.0.1", "protos": protos},
        )
        answer = await runtime.worker_init_request(init)
        if answer.result.status != protos.StatusResult.Success:
            raise _indexing_error(str(answer.result.exception.message), str(answer.result.exception.stack_trace))
        metadata = await runtime.functions_metadata_request(Message())
        return [
            Function(f.name, f.function_id, tuple(json.loads(raw) for raw in f.raw_bindings))
            for f in metadata.function_metadata_results or []
        ]

    async def invoke(
        self,
        function: Function,
        inputs: Mapping[str, TypedData],
        trace: TraceContext,
        invocation_id: str,
        trigger_metadata: Mapping[str, TypedData] | None = None,
    ) -> Outcome:
        """Run a function once. Never raises for what the function does: see ``Outcome.failure``.

        Run each invocation in an asyncio task of its own: the library attaches the trace to the current context.
        """
        request = Message(
            invocation_id=invocation_id,
            function_id=function.function_id,
            input_data=[ParameterBinding(name, data) for name, data in inputs.items()],
            trigger_metadata=dict(trigger_metadata or {}),
            trace_context=trace,
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        with self.running(function.name, invocation_id):
            answer = await runtime.invocation_request(Message(request=Message(invocation_request=request)))
        if answer.result.status != protos.StatusResult.Success:
            error = answer.result.exception
            return Outcome(failure=Failure(str(error.message), str(error.stack_trace)))
        outputs = {out.name: out.data for out in answer.output_data if out.data is not None}
        return Outcome(return_value=answer.return_value, outputs=outputs)

    @contextmanager
    def running(self, name: str, invocation_id: str) -> Iterator[None]:
        """Marks what happens inside as the work of a function; ``running_function`` tells its name."""
        token = _running.set(name)
        self._names_by_invocation[invocation_id] = name
        try:
            yield
        finally:
            del self._names_by_invocation[invocation_id]
            _running.reset(token)

    def running_function(self) -> str | None:
        """Name of the function that the caller is part of, or None outside of any invocation."""
        name = _running.get()
        if name is None:
            invocation_id = runtime.invocation_id_cv.get()
            name = self._names_by_invocation.get(invocation_id) if invocation_id else None
        return name
