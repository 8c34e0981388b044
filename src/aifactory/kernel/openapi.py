"""The OpenAPI 3.1 document, generated from the routes, and the offline reference pages."""

import html
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute
from litestar.types import Method

from aifactory.kernel.errors import VersionChanged
from aifactory.kernel.guard import SESSION_HEADER, is_automatic_options
from aifactory.kernel.http import encode
from aifactory.kernel.money import is_money
from aifactory.kernel.page import MAX_LIMIT
from aifactory.kernel.principal import PUBLIC, Role
from aifactory.kernel.problems import PROBLEM_MEDIA_TYPE, Problem, camel, catalogue
from aifactory.kernel.sse import SSE_MEDIA_TYPE
from aifactory.kernel.static import StaticFiles

_PAGE_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCHEMES = {
    "apiKey": SecurityScheme(
        type="apiKey", security_scheme_in="header", name="X-API-Key", description="A client's API key."
    ),
    "bearer": SecurityScheme(type="http", scheme="bearer", description="The same API key as a bearer token."),
    "cookie": SecurityScheme(
        type="apiKey",
        security_scheme_in="cookie",
        name="__Host-aifactory_session",
        description="A user's session in a browser (by http: aifactory_session). Changes need X-CSRF-Token.",
    ),
    "session": SecurityScheme(
        type="apiKey",
        security_scheme_in="header",
        name=SESSION_HEADER,
        description="A user's session token from POST /auth/login.",
    ),
    "monitor": SecurityScheme(type="http", scheme="bearer", description="AIFACTORY_METRICS_TOKEN."),
    "worker": SecurityScheme(
        type="http", scheme="bearer", description="A worker's secret, with X-Worker-ID."
    ),
}
_RATE_LIMIT = {
    "RateLimit-Policy": 'The caller\'s API requests a minute: "requests";q=120;w=60.',
    "RateLimit": 'What is left of them, and the seconds until all are back: "requests";r=117;t=2.',
}
_REFUSALS = {
    400: "The request can't be read.",
    401: "No valid credential.",
    402: "The budget does not allow it.",
    403: "The credential may not do that, or a higher tier is needed.",
    404: "No such object, or another client's.",
    409: "The present state does not allow it.",
    410: "The content was erased.",
    412: "The object has changed since it was read.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Some values are not acceptable.",
    429: "Too many at once; see Retry-After.",
    503: "A part that is needed is down; see Retry-After.",
}


class _NoRoutes(Router):
    """Keeps Litestar from adding documentation routes of its own, which answer 404 with HTML."""

    def register(self, value: Any) -> list[Any]:
        """Add nothing."""
        return []


def openapi_config(*, title: str, version: str, description: str) -> OpenAPIConfig:
    """Return the settings with which Litestar generates the schema and serves nothing."""
    return OpenAPIConfig(
        title=title,
        version=version,
        description=description,
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        components=Components(security_schemes=dict(_SCHEMES)),
        openapi_router=_NoRoutes("/", route_handlers=[]),
    )


def _operation_id(handler: HTTPRouteHandler, _method: Method, _path: list[Any]) -> str:
    return camel(handler.handler_name)


def openapi_document(app: Litestar) -> dict[str, Any]:
    """Return the document: Litestar's, with msgspec's exact schemas, security, problems and headers."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    operations = list(_operations(app, document["paths"]))
    schema_of, components = _schemas([kind for _, handler, _ in operations for kind in _bodies(handler)])
    document["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in {**_RATE_LIMIT, "ETag": "The version of its settings, for If-Match."}.items()
    }
    document["components"]["schemas"] = components | _enums_of_parameters(document)
    for operation, handler, route in operations:
        _describe(operation, handler, schema_of)
        _refuse(operation, handler, route)
    _tag_versions(operations)
    for_support = [one["responses"] for one, handler, _ in operations if Role.SUPPORT in handler.opt["roles"]]
    _require_no_money(for_support, components)
    return document


def _operations(
    app: Litestar, paths: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], HTTPRouteHandler, HTTPRoute]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                operation = paths.get(route.path_format, {}).get(method.lower())
                if operation is not None and not is_automatic_options(handler):
                    yield operation, handler, route


def _bodies(handler: HTTPRouteHandler) -> list[Any]:
    """List the types of a handler's body and answers."""
    found = [kind for _, *kinds in handler.opt.get("also", {}).values() for kind in kinds]
    found += [kind for kind in (_input(handler), _output(handler), _streamed(handler)) if kind is not None]
    return found


def _input(handler: HTTPRouteHandler) -> Any:
    data = handler.parsed_fn_signature.parameters.get("data")
    return None if data is None else data.annotation


def _output(handler: HTTPRouteHandler) -> Any:
    kind = handler.parsed_fn_signature.return_type.annotation
    if isinstance(origin := get_origin(kind), type) and issubclass(origin, Response):
        kind = get_args(kind)[0]
    return None if kind in (None, type(None), bytes, str, Any) else kind


def _streamed(handler: HTTPRouteHandler) -> Any:
    """Return the type of the ``data`` of a stream's events."""
    return handler.opt.get("streams")


def _schemas(kinds: list[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of each type, and the components that they refer to."""
    kinds = [Problem, *dict.fromkeys(kinds)]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}", schema_hook=lambda _: {"type": "string"}
    )
    return dict(zip(kinds, schemas, strict=True)), _with_numbers(components)


def _with_numbers(schema: Any) -> Any:
    """Money is a JSON number on the wire, not the string that msgspec describes."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            return {"type": "number"}
        return {name: _with_numbers(value) for name, value in schema.items()}
    return [_with_numbers(value) for value in schema] if isinstance(schema, list) else schema


def _require_no_money(answers: Any, components: dict[str, Any]) -> None:
    """Let money be left out of the schemas of these answers: users who may see none read them too."""
    pending, seen = [answers], set[str]()
    while pending:
        schema = pending.pop()
        if isinstance(schema, list):
            pending.extend(schema)
        elif isinstance(schema, dict):
            pending.extend(schema.values())
            name = str(schema.get("$ref", "")).rpartition("/")[2]
            if name in components and name not in seen:
                seen.add(name)
                found = components[name]
                pending.append(found)
                if "required" in found:
                    found["required"] = [one for one in found["required"] if not is_money(one)]


def _enums_of_parameters(document: dict[str, Any]) -> dict[str, Any]:
    """Keep Litestar's own schemas of enums, which query parameters refer to."""
    found: dict[str, Any] = document["components"].get("schemas", {})
    return {name: schema for name, schema in found.items() if "enum" in schema}


def _describe(operation: dict[str, Any], handler: HTTPRouteHandler, schema_of: dict[Any, Any]) -> None:
    operation["security"] = _security(handler.opt["roles"])
    operation["summary"] = operation.get("description", "").split("\n")[0].split(". ")[0].rstrip(".")
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["name"] == "limit":
            parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    parameters.extend(_headers(handler))
    if (body := _input(handler)) is not None:
        operation["requestBody"]["content"] = {"application/json": {"schema": schema_of[body]}}
    if takes := handler.opt.get("takes"):  # bytes as they are, of these media types
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": {}} for kind in takes}}
    answers = dict(handler.opt.get("also", {}))
    if (kind := _output(handler)) is not None:
        answers[handler.status_code] = ("Done.", kind)
    for status, (description, *kinds) in answers.items():
        schemas = [schema_of[kind] for kind in kinds]
        content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}
        operation["responses"][str(status)] = {"description": description, "content": content}
    if gives := handler.opt.get("gives"):  # bytes of these media types, instead of JSON or beside it
        given = operation["responses"][str(handler.status_code)] if handler.status_code in answers else {}
        content = given.get("content", {}) | {kind: {"schema": {}} for kind in gives}
        done = {"description": "Done.", **given, "content": content}
        operation["responses"][str(handler.status_code)] = done
    if (kind := _streamed(handler)) is not None:
        content = {SSE_MEDIA_TYPE: {"schema": {"type": "string"}, "itemSchema": schema_of[kind]}}
        operation["responses"]["200"] = {"description": "Events until the end.", "content": content}


def _refuse(operation: dict[str, Any], handler: HTTPRouteHandler, route: HTTPRoute) -> None:
    roles = handler.opt["roles"]
    statuses = {503} | set(handler.opt.get("refusals", ()))
    if Role.PUBLIC not in roles:
        statuses |= {400, 401, 403, 422, 429}
    if route.path_parameters:
        statuses.add(404)
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if "POST" in handler.http_methods and Role.PUBLIC not in roles:
        statuses.add(409)
    for status in sorted(statuses):
        operation["responses"][str(status)] = _problem(_REFUSALS[status])
    operation["responses"]["default"] = _problem("Any other refusal.")
    if Role.PUBLIC not in roles:
        for status, answer in operation["responses"].items():
            if status.startswith("2") or status == "429":
                answer["headers"] = answer.get("headers", {}) | {
                    name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_LIMIT
                }


def _headers(handler: HTTPRouteHandler) -> list[dict[str, Any]]:
    wanted = []
    if handler.opt.get("creates"):
        text = "Makes this creation happen once; kept 48 h. A replay gives the first answer."
        wanted.append(("Idempotency-Key", text, {"type": "string", "minLength": 1, "maxLength": 255}))
    if _guards_races(handler):
        text = "The ETag that was read: refused with 412 if it has changed since."
        wanted.append(("If-Match", text, {"type": "string"}))
    if Role.WORKER in handler.opt["roles"]:
        wanted.append(("X-Worker-ID", "The name of the worker, beside its secret.", {"type": "string"}))
    if _streamed(handler) is not None:
        text = "The id of the last event that was seen: go on after it."
        wanted.append(("Last-Event-ID", text, {"type": "integer", "minimum": 0}))
    if handler.opt.get("waits"):
        text = "wait=N: answer with the result if it is there within N seconds (at most 60)."
        wanted.append(("Prefer", text, {"type": "string", "example": "wait=30"}))
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
        for name, text, schema in wanted
    ]


def _guards_races(handler: HTTPRouteHandler) -> bool:
    return VersionChanged.status in handler.opt.get("refusals", ())


def _tag_versions(operations: list[tuple[dict[str, Any], HTTPRouteHandler, HTTPRoute]]) -> None:
    """Say where the ETag comes from that an edit takes: from reading the same thing, and from the edit."""
    edited = {route.path for _, handler, route in operations if _guards_races(handler)}
    for operation, handler, route in operations:
        if route.path in edited and handler.http_methods & {"GET", "PUT"}:
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    answer["headers"] = answer.get("headers", {}) | {
                        "ETag": {"$ref": "#/components/headers/ETag"}
                    }


def _security(roles: frozenset[Role]) -> list[dict[str, list[str]]]:
    if Role.PUBLIC in roles:
        return []
    names = []
    if Role.CLIENT in roles:
        names += ["apiKey", "bearer"]
    if roles & {Role.CLIENT, Role.SUPPORT, Role.ADMIN}:
        names += ["session", "cookie"]
    if Role.WORKER in roles:
        names.append("worker")
    if Role.MONITOR in roles:
        names.append("monitor")
    return [{name: []} for name in names]


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}}}


def documentation_routes(files: StaticFiles) -> list[HTTPRouteHandler]:
    """Return ``/openapi.json``, ``/docs`` and ``/docs/errors``."""

    @get("/openapi.json", roles=PUBLIC, include_in_schema=False, sync_to_thread=False)
    def get_openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        state = request.app.state
        if "openapi_document" not in state:
            state.openapi_document = encode(openapi_document(request.app))
        headers = {"Cache-Control": "no-cache"}
        return Response(state.openapi_document, media_type="application/json", headers=headers)

    @get("/docs", roles=PUBLIC, include_in_schema=False, sync_to_thread=False)
    def get_reference_page() -> Response[str]:
        body = (
            '<p><a href="/docs/errors">Error codes</a> · <a href="/openapi.json">openapi.json</a></p>'
            '<div id="reference"></div>'
            f'<script src="{files.url("swagger-ui/swagger-ui-bundle.js")}"></script>'
            f'<script src="{files.url("docs.js")}"></script>'
        )
        return _page("AI Factory: API reference", body, files, "swagger-ui/swagger-ui.css", "docs.css")

    @get("/docs/errors", roles=PUBLIC, include_in_schema=False, sync_to_thread=False)
    def get_error_page() -> Response[str]:
        rows = "".join(
            f'<tr id="{html.escape(entry.code)}"><td><code>{html.escape(entry.code)}</code></td>'
            f"<td>{entry.status}</td><td>{html.escape(entry.title)}</td>"
            f"<td>{_with_code(entry.meaning)}</td><td>{'yes' if entry.retryable else 'no'}</td></tr>"
            for entry in catalogue()
        )
        head = "<tr><th>code</th><th>status</th><th>title</th><th>meaning</th><th>retry?</th></tr>"
        body = f"<h1>Error codes</h1><table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        return _page("AI Factory: error codes", body, files, "docs.css")

    return [get_openapi_document, get_reference_page, get_error_page]


def _with_code(text: str) -> str:
    """Return a docstring's words as HTML, its ``names`` as code."""
    return re.sub(r"``(.+?)``", r"<code>\1</code>", html.escape(text))


def _page(title: str, body: str, files: StaticFiles, *styles: str) -> Response[str]:
    links = "".join(f'<link rel="stylesheet" href="{files.url(name)}">' for name in styles)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">{links}</head><body>{body}</body></html>'
    )
    headers = {"Content-Security-Policy": _PAGE_SECURITY, "Cache-Control": "no-cache"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)
