"""What this host can and cannot bind, and the inputs that come besides the trigger."""

from devhost.protos import TypedData
from devhost.worker import Function

DURABLE_TRIGGERS = ("orchestrationTrigger", "activityTrigger", "entityTrigger")
SERVED_TRIGGERS = ("httpTrigger", "timerTrigger", *DURABLE_TRIGGERS)


def client_inputs(function: Function, client: str) -> dict[str, TypedData]:
    """The ``durableClient`` inputs of a function, each the client configuration that the SDK parses."""
    return {b["name"]: TypedData(string=client) for b in function.inputs if b["type"] == "durableClient"}


def unserved(function: Function) -> list[str]:
    """Bindings of a function that only Azure's own extensions provide, worded for the user."""
    found: list[str] = []
    if function.trigger_type not in SERVED_TRIGGERS:
        found.append(f"trigger {function.trigger_type}")
    found += [f"input {b['type']}" for b in function.inputs if b["type"] != "durableClient"]
    found += [f"output {b['type']}" for b in function.outputs if b["type"] != "http"]
    return found
