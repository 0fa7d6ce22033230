"""A classic app: ``func.HttpRequest`` in, ``func.HttpResponse`` or text out; every auth level."""

import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route("echo", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    logging.info("echo says %s", req.params.get("word"))
    return func.HttpResponse(
        req.get_body(), status_code=201, headers={"x-method": req.method, "x-word": req.params.get("word", "")}
    )


@app.route("items/{id:int}", auth_level=func.AuthLevel.ANONYMOUS)
def item(req: func.HttpRequest) -> str:
    return f"item {req.route_params['id']}"


@app.route("items/{name:alpha:maxlength(5)}", auth_level=func.AuthLevel.ANONYMOUS)
def named_item(req: func.HttpRequest) -> str:
    return f"named {req.route_params['name']}"


@app.route("items/special", auth_level=func.AuthLevel.ANONYMOUS)
def special_item(req: func.HttpRequest) -> str:
    return "special"


@app.route("files/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def file(req: func.HttpRequest) -> str:
    return f"file {req.route_params.get('path')}"


@app.route("greetings/{name?}", auth_level=func.AuthLevel.ANONYMOUS)
async def greeting(req: func.HttpRequest) -> str:
    return f"hello {req.route_params.get('name', 'nobody')}"


@app.route("cookies", auth_level=func.AuthLevel.ANONYMOUS)
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    headers = {"Set-Cookie": "flavour=oat; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"}
    return func.HttpResponse("crumbs", headers=headers)


@app.route("trace", auth_level=func.AuthLevel.ANONYMOUS)
def trace(req: func.HttpRequest, context: func.Context) -> str:
    return context.trace_context.Traceparent


@app.route("failing", auth_level=func.AuthLevel.ANONYMOUS)
def failing(req: func.HttpRequest) -> str:
    raise LookupError("no such thing")


@app.route("guarded")
def guarded(req: func.HttpRequest) -> str:
    return "in"


@app.route("master_only", auth_level=func.AuthLevel.ADMIN)
def master_only(req: func.HttpRequest) -> str:
    return "in"
