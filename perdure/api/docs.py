"""The documentation page: Swagger UI over the OpenAPI document, with every asset from this app."""

import mimetypes
from functools import cache
from importlib.metadata import files

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perdure API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null, defaultModelsExpandDepth: 0
});
"""

POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
"""Content-Security-Policy of the page. Swagger UI sets styles on its elements, and its icons are data URLs."""

_SHIPPED = ("favicon.png", "swagger-ui-bundle.js", "swagger-ui.css")


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """Read one of the page's assets, with its media type; None when there is no such asset."""
    if name == "start.js":
        content = START.encode()
    elif name in _SHIPPED:
        # Found by the package's list of files: importing it would build a web framework to read a file.
        path = next(path for path in files("fastapi_offline") or () if path.name == name)
        content = path.read_binary()
    else:
        return None
    return content, mimetypes.guess_type(name)[0] or "application/octet-stream"
