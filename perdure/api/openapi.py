"""The OpenAPI 3.1 document, made from the route table and the models of requests and responses.

1. Every model named by a route becomes a schema; what its docstring says of an attribute describes the field.
2. Every route becomes an operation; its error statuses follow from its scope, its parameters and its body.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from perdure.api.routes import OPERATIONS, ROUTES, Route
from perdure.api.schemas.problems import InvalidView, ProblemView
from perdure.tools.docstring import parse_docstring
from perdure.version import VERSION

type Json = dict[str, Any]

SCHEMAS = "#/components/schemas/{model}"

PROBLEM = "application/problem+json"

SECURITY_SCHEMES: Json = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}

EVENT: Json = {
    "type": "object",
    "description": "One server-sent event; its data is JSON.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}

HEADERS: Mapping[int, Mapping[str, str]] = {
    201: {"Location": "Where the new thing is."},
    202: {"Retry-After": "Seconds after which it is worth looking again."},
    401: {"WWW-Authenticate": "Which credentials are taken."},
    429: {"Retry-After": "Seconds after which the request may be sent again."},
    503: {"Retry-After": "Seconds after which the request may be sent again."},
}

INFO: Json = {
    "title": "Perdure",
    "version": VERSION,
    "summary": "Durable agents: post a query, follow the task, read the answer.",
    "description": (
        "A task is accepted with 202 and runs as a durable orchestration; its status URLs tell how far it is. "
        "Every error is an RFC 9457 problem document, except where those URLs answer as the built-in ones do."
    ),
}


def openapi() -> Json:
    """Describe every route of the app."""
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/api"}],
        "paths": _paths(OPERATIONS),
        "components": {"schemas": _schemas(ROUTES), "securitySchemes": SECURITY_SCHEMES},
    }


def problem_statuses(route: Route) -> list[int]:
    """The error statuses a route may answer."""
    statuses = {*route.problems, 500, 503}
    if route.scope is not None:
        statuses |= {401, 403, 429}
    if route.takes is not None:
        statuses |= {400, 413, 422}
    if route.query is not None:
        statuses.add(422)
    if "{" in route.path:
        statuses.add(404)
    return sorted(statuses)


def _paths(operations: Mapping[str, Route]) -> Json:
    paths: Json = {}
    for name, route in operations.items():
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(name, route)
    return paths


def _operation(name: str, route: Route) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {str(status): _problem(status) for status in problem_statuses(route)}
        | {str(status): _answer(status, body) for status, body in route.answers.items()},
        "security": [{"apiKey": []}, {"bearer": []}] if route.scope else [],
    }
    if route.stream:
        operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    if route.scope:
        operation["description"] = f"Asks for the scope `{route.scope}`."
    if route.takes is not None:
        content: Json = {"schema": {"$ref": SCHEMAS.format(model=route.takes.__name__)}}
        if route.examples:
            content["examples"] = {name: {"value": value} for name, value in route.examples.items()}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _path_parameters(route: Route) -> list[Json]:
    names = re.findall(r"{(\w+)}", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    parameters: list[Json] = []
    fields: dict[str, Json] = _described(route.query.model_json_schema())["properties"]
    for name, field in fields.items():
        # A query parameter is left out or given: there is no null.
        choices: list[Json] = field.pop("anyOf", [])
        for choice in choices:
            field |= choice if choice != {"type": "null"} else {}
        said = {"description": field.pop("description")} if "description" in field else {}
        parameters.append({"name": name, "in": "query", **said, "schema": field})
    return parameters


def _header_parameters(route: Route) -> list[Json]:
    return [
        {"name": header.name, "in": "header", "description": header.said, "schema": _text(header.pattern)}
        for header in route.headers
    ]


def _text(pattern: str) -> Json:
    return {"type": "string", "pattern": pattern}


def _answer(status: int, body: type[BaseModel] | str | None) -> Json:
    answer: Json = {"description": HTTPStatus(status).phrase}
    match body:
        case None:
            pass
        case "application/json":
            answer["content"] = {body: {"schema": {}}}
        case str():
            answer["content"] = {body: {"schema": {"type": "string"}}}
        case model:
            answer["content"] = {"application/json": {"schema": {"$ref": SCHEMAS.format(model=model.__name__)}}}
            answer["links"] = _links(model)
    return answer | _headers(status)


def _links(model: type[BaseModel]) -> Json:
    """The operations whose path asks for something that an answer tells."""
    return {
        name: {"operationId": name, "parameters": {told: f"$response.body#/{told}"}}
        for told in model.model_fields
        for name, route in OPERATIONS.items()
        if f"{{{told}}}" in route.path
    }


def _problem(status: int) -> Json:
    model = InvalidView if status == HTTPStatus.UNPROCESSABLE_ENTITY else ProblemView
    content = {PROBLEM: {"schema": {"$ref": SCHEMAS.format(model=model.__name__)}}}
    return {"description": HTTPStatus(status).phrase, "content": content} | _headers(status)


def _headers(status: int) -> Json:
    if status not in HEADERS:
        return {}
    return {
        "headers": {name: {"description": said, "schema": {"type": "string"}} for name, said in HEADERS[status].items()}
    }


def _schemas(routes: Iterable[Route]) -> Json:
    modes: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (ProblemView, "serialization"): None,
        (InvalidView, "serialization"): None,
    }
    for route in routes:
        if route.takes is not None:
            modes[route.takes, "validation"] = None
        modes |= {(body, "serialization"): None for body in route.answers.values() if isinstance(body, type)}
    _, document = models_json_schema(list(modes), ref_template=SCHEMAS)
    return {name: _described(schema) for name, schema in document["$defs"].items()}


def _described(schema: Json) -> Json:
    """Move what a model's docstring says of its attributes to where a reader of the document looks for it."""
    said = parse_docstring(schema.get("description", ""))
    fields = {
        name: field | ({"description": said.parameters[name]} if name in said.parameters else {})
        for name, field in schema.get("properties", {}).items()
    }
    return schema | ({"description": said.text} if said.text else {}) | ({"properties": fields} if fields else {})
