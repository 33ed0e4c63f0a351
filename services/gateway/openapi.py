"""The OpenAPI 3.1 document, made from the registrations that serve the requests."""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from services.gateway import problems
from services.gateway.api import Route
from services.gateway.examples import add_examples
from services.gateway.problems import Kind, ProblemDocument
from services.gateway.sessions import COOKIE

Json = dict[str, Any]
TEMPLATE = "#/components/schemas/{model}"
IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the answer that the client has: 304 if it still holds.",
    "schema": {"type": "string"},
}
REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
HEADERS: Json = {
    name: {"description": description, "schema": {"type": "string"}, "example": example}
    for name, description, example in (
        ("ETag", "What it is now: for `If-Match` and `If-None-Match`.", '"v3-0a1b2c3d4e5f6071"'),
        ("Idempotent-Replayed", "`true`: the answer is that of an earlier request.", "true"),
        ("Link", "What follows in the list (RFC 8288).", '</v1/jobs?cursor=abc>; rel="next"'),
        (
            "Location",
            "Where what was made or begun is to be seen.",
            "/v1/jobs/01a20bc7-0b0c-7c41-b1d5",
        ),
        ("RateLimit", "`r`: requests left; `t`: seconds until all are.", '"default";r=4999;t=1'),
        ("RateLimit-Policy", "`q` requests in `w` seconds.", '"default";q=5000;w=10'),
        ("Retry-After", "Seconds after which it is worth while to ask.", "1"),
    )
}
BINARY: Json = {"schema": {"type": "string", "format": "binary"}}


def build_document(routes: Sequence[Route], *, title: str, version: str, description: str) -> Json:
    """The whole document; raises when two models of different shape share a name."""
    schemas = _Schemas(routes)
    paths: dict[str, Json] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, schemas)
    used = _used(paths, schemas.definitions)
    add_examples(used)
    return {
        # Without `jsonSchemaDialect`: swagger-ui shows a red warning for it.
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": dict(paths),
        "components": {
            "schemas": used,
            "headers": HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of a workspace, or a token (JWT) of the OpenID "
                    "provider; with a token of somebody who belongs to several workspaces, the "
                    "header `Pointmill-Workspace` names the one that is meant.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "A browser that has signed in at /v1/sign-in.",
                },
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
    }


def _used(paths: Json, definitions: Json) -> Json:
    """The schemas that operations speak of; the models of queries are told parameter by parameter."""
    used: Json = {}
    wanted = set(REFERENCE.findall(json.dumps(paths)))
    while wanted:
        name = wanted.pop()
        used[name] = definitions[name]
        wanted |= set(REFERENCE.findall(json.dumps(definitions[name]))) - set(used)
    return dict(sorted(used.items()))


class _Schemas:
    """The schemas of all models, collected at once so that pydantic settles their names."""

    def __init__(self, routes: Sequence[Route]) -> None:
        wanted: list[tuple[Any, Any, TypeAdapter[Any]]] = [
            ("problem", "serialization", TypeAdapter(ProblemDocument))
        ]
        for index, route in enumerate(routes):
            signature = route.signature
            if signature.answer is not None:
                adapter = TypeAdapter(signature.answer)
                wanted.append((f"answer {index}", "serialization", adapter))
            if signature.body is not None and signature.body.model is not None:
                adapter = TypeAdapter(signature.body.model)
                wanted.append((f"body {index}", "validation", adapter))
            if signature.query is not None:
                wanted.append((f"query {index}", "validation", TypeAdapter(signature.query)))
            for number, parameter in enumerate(signature.parameters):
                adapter = TypeAdapter(parameter.type)
                wanted.append((f"parameter {index} {number}", "validation", adapter))
        schemas, rest = TypeAdapter.json_schemas(wanted, ref_template=TEMPLATE)
        self._schemas = {key: schema for (key, _), schema in schemas.items()}
        self.definitions: Json = rest.get("$defs", {})
        self._index = {id(route): index for index, route in enumerate(routes)}

    def of(self, route: Route, what: str) -> Json:
        """The schema of a route's answer, body or parameter."""
        part, _, number = what.partition(" ")
        return self._schemas[f"{part} {self._index[id(route)]}{number and ' ' + number}"]

    def problem(self) -> Json:
        """The schema of a problem document."""
        return self._schemas["problem"]

    def query(self, route: Route) -> Json:
        """The schema of a route's query model itself, taken out of the shared ones."""
        schema = self.of(route, "query")
        name = schema["$ref"].rpartition("/")[2]
        return dict(self.definitions[name])


def _operation(route: Route, schemas: _Schemas) -> Json:
    summary, _, description = (inspect.getdoc(route.function) or "").partition("\n")
    operation: Json = {
        "operationId": route.function.__name__,
        "summary": summary.rstrip("."),
        "tags": [route.tag],
        "responses": _responses(route, schemas),
    }
    if text := _text(description, route):
        operation["description"] = text
    if parameters := _parameters(route, schemas):
        operation["parameters"] = parameters
    if route.signature.body is not None:
        operation["requestBody"] = {"required": True, "content": _body(route, schemas)}
    if route.signature.secured:
        roles = _roles(route)
        operation["security"] = [{"key": roles}]
        if roles != ["operator"]:
            operation["security"].append({"session": roles})
    return operation


def _roles(route: Route) -> list[str]:
    """For a key of this kind OpenAPI 3.1 lists the roles that are needed."""
    if problems.OPERATORS_ONLY in route.signature.problems:
        return ["operator"]
    return [route.signature.role] if route.signature.role else []


def _text(description: str, route: Route) -> str:
    roles = _roles(route)
    needs = f"Needs the role `{roles[0]}`." if roles else ""
    return "\n\n".join(part for part in (description.strip(), needs) if part)


def _parameters(route: Route, schemas: _Schemas) -> list[Json]:
    found = []
    for number, parameter in enumerate(route.signature.parameters):
        schema = schemas.of(route, f"parameter {number}")
        found.append(_parameter(parameter.name, parameter.place, schema, parameter.required))
    if route.reads_one:
        found.append(IF_NONE_MATCH)
    if route.signature.query is not None:
        model = schemas.query(route)
        required = model.get("required", [])
        for name, schema in model["properties"].items():
            found.append(_parameter(name, "query", schema, name in required))
    return found


def _parameter(name: str, place: str, schema: Json, required: bool) -> Json:
    schema = {key: value for key, value in schema.items() if key != "title"}
    # An absent parameter is absent, not null: null is how Python says so, not how a query does.
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
        schema = {**rest, **choices[0]} if len(choices) == 1 else {**rest, "anyOf": choices}
    parameter: Json = {"name": name, "in": place, "required": required}
    if description := schema.pop("description", None):
        parameter["description"] = description
    if schema.get("type") == "object":
        # JSON in a query is JSON, not a list of members.
        parameter["content"] = {"application/json": {"schema": schema}}
    else:
        parameter["schema"] = schema
    return parameter


def _body(route: Route, schemas: _Schemas) -> Json:
    body = route.signature.body
    content: Json = {}
    if body is not None and body.model is not None:
        content["application/json"] = {"schema": schemas.of(route, "body")}
        if route.method == "PATCH":
            content["application/merge-patch+json"] = content["application/json"]
    if body is not None and body.raw:
        content["application/octet-stream"] = BINARY
    return content


def _responses(route: Route, schemas: _Schemas) -> Json:
    responses: Json = {}
    for status in (route.status, *route.statuses):
        response: Json = {"description": HTTPStatus(status).phrase}
        if headers := _headers(route, status):
            response["headers"] = headers
        if route.signature.answer is not None:
            response["content"] = {"application/json": {"schema": schemas.of(route, "answer")}}
        elif route.signature.streams and status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            response["content"] = {
                media_type: _media(media_type) for media_type in route.media_types
            }
        responses[str(status)] = response
    if route.reads_one:
        responses["304"] = {
            "description": "What `If-None-Match` names still holds.",
            "headers": _headers(route, HTTPStatus.NOT_MODIFIED),
        }
    by_status: dict[int, list[Kind]] = defaultdict(list)
    for kind in dict.fromkeys((*route.problems, *route.signature.problems, *implied(route))):
        by_status[kind.status].append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = {
            "description": _describe(kinds),
            "content": {problems.MEDIA_TYPE: {"schema": schemas.problem()}},
        }
    return responses


def _headers(route: Route, status: int) -> Json:
    """What a good answer says besides its body."""
    names = []
    listed = "next" in getattr(route.signature.answer, "model_fields", {})
    if listed:
        names.append("Link")
    if route.reads_one or route.method == "PATCH" or HTTPStatus.NOT_MODIFIED in route.statuses:
        names.append("ETag")
    if status in {HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
        names.append("Location")
    if status == HTTPStatus.ACCEPTED:
        names.append("Retry-After")
    if route.signature.once:
        names.append("Idempotent-Replayed")
    if route.signature.secured:
        names += ["RateLimit", "RateLimit-Policy"]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _media(media_type: str) -> Json:
    if media_type == "*/*":
        return {}  # a product's own, which may be anything
    textual = media_type.startswith("text/") or media_type.endswith("json")
    return {} if textual else BINARY


def implied(route: Route) -> Iterable[Kind]:
    """The problems that follow from the signature alone."""
    yield problems.INVALID_REQUEST
    yield problems.INTERNAL_ERROR
    yield problems.BAD_REQUEST
    if route.signature.secured:
        yield problems.TOO_MANY_REQUESTS
    body = route.signature.body
    if body is None:
        return
    yield from (problems.BODY_CUT, problems.BODY_TOO_SLOW, problems.UNSUPPORTED_ENCODING)
    if body.raw:
        yield problems.OBJECT_TOO_LARGE
    if body.model is not None:
        yield from (problems.MALFORMED_JSON, problems.BODY_TOO_LARGE)
        if not body.raw:
            yield problems.UNSUPPORTED_MEDIA_TYPE


def _describe(kinds: Sequence[Kind]) -> str:
    return "\n".join(f"- `{kind.code}`: {kind.title}." for kind in kinds)
