"""The page of the API at /docs, served from here: no other host is asked for anything."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Cleanbook API</title>
<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/docs/files/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/docs/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  requestInterceptor: (request) => {
    if (window.cleanbookCsrf) request.headers["X-CSRF-Token"] = window.cleanbookCsrf;
    return request;
  },
});
fetch("/api/v1/session").then((r) => (r.ok ? r.json() : {})).then((s) => { window.cleanbookCsrf = s.csrf; });
"""
#: Swagger UI sets styles of its own; scripts stay as strict as everywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Add the page."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @app.get("/docs/openapi.json", include_in_schema=False)
    async def description() -> Response:
        return JSONResponse({**as_3_0(app.openapi()), "openapi": "3.0.3"})

    app.mount("/docs/files", StaticFiles(directory=swagger_ui_path), name="swagger")


def as_3_0(schema: Any) -> Any:
    """Return an OpenAPI 3.1 description in the words of 3.0, the newest that this Swagger UI reads."""
    if isinstance(schema, list):
        return [as_3_0(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: as_3_0(value) for name, value in schema.items()}
    if isinstance(found.get("anyOf"), list):
        forms = [form for form in found["anyOf"] if form != {"type": "null"}]
        if len(forms) < len(found["anyOf"]):
            rest = {name: value for name, value in found.items() if name != "anyOf"}
            one = forms[0] if len(forms) == 1 and "$ref" not in forms[0] else {"anyOf": forms}
            found = {**rest, **one, "nullable": True}
    if isinstance(found.get("prefixItems"), list):
        found["items"] = {"anyOf": found.pop("prefixItems")}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    return found
