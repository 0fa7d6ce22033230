"""The app's HTTP functions, called in this process over a store that counts, without a host and without a task hub."""

import inspect
from collections.abc import Mapping
from typing import Any

from azurefunctions.extensions.http.fastapi import Request, Response

import function_app


class NoTaskHub:
    """Stands for the durable client of a request that must not get as far as using it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the task hub was asked: {name}")


async def call(name: str, headers: Mapping[str, str], path: Mapping[str, str]) -> Response:
    """Send a request without a body to the HTTP function of a route, by the name of its operation."""
    from perdure.api.routes import OPERATIONS

    route = OPERATIONS[name]
    [function] = [
        function.get_user_function()
        for function in function_app.app.get_functions()
        if (trigger := function.get_trigger().get_dict_repr())["type"] == "httpTrigger"
        and (trigger["route"], [method.value for method in trigger["methods"]]) == (route.path, [route.method])
    ]
    client = {"client": NoTaskHub()} if "client" in inspect.signature(function).parameters else {}
    # The durable decorator makes a client from the host's text; below it, the function takes one.
    function = inspect.unwrap(function, stop=lambda one: not hasattr(one.__wrapped__, "__wrapped__")) if client else function
    return await function(_request(route.method, headers, path), **client)
