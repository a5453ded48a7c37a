"""The OpenAPI document of the JSON API, made of the same tables as its routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from asyncsched._core.version import VERSION
from asyncsched.dashboard.actions import JOB_ACTIONS, RUN_ACTIONS, SCHEDULE_ACTIONS, Action
from asyncsched.dashboard.api import CURSOR, READS, Parameter
from asyncsched.dashboard.bulk import BULK, EVERYTHING

_ERRORS = {
    "400": "no JSON", "401": "sign in", "403": "not allowed, or sent by another site's page", "404": "not found",
    "409": "not possible in this state", "413": "body too long", "422": "a wrong value", "503": "the store is away",
}  # fmt: skip

_ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029/?#]+$"
"""An id in an address: routes end at a line's end, and many proxies decode a slash."""

_LEADS = {
    "/schedules": ("schedules", "/schedules/0/id"), "/schedules/{id}/run": ("runs", "/run_id"), "/jobs": ("jobs", "/jobs/0/name"),
    "/jobs/{id}/run": ("runs", "/run_id"), "/runs": ("runs", "/runs/0/id"), "/runs/{id}/requeue": ("runs", "/run_id"),
    "/failures/runs": ("runs", "/runs/0/id"),
}  # fmt: skip
"""Where an answer has the id of a schedule, a job or a run: for its page and for what can be done to it."""

_NO_ZERO = r"^[^\u0000]*$"


@cache
def document(title: str) -> dict[str, Any]:
    """Return the document; ``title`` is the app's name."""
    paths: dict[str, Any] = {}
    for read in READS:
        paths[read.path] = {
            "get": {
                "summary": read.summary, "operationId": _name("get", read.path),
                "parameters": [*_path_parameters(read.path), *map(_parameter, read.parameters)],
                "responses": {"200": _answer("the answer"), **_problems(("401", "403", "404", "422", "503"))},
            }
        }  # fmt: skip
    tables: tuple[tuple[str, Mapping[str, Action]], ...] = (
        ("schedules", SCHEDULE_ACTIONS), ("runs", RUN_ACTIONS), ("jobs", JOB_ACTIONS),
    )  # fmt: skip
    for kind, actions in tables:
        for name, action in actions.items():
            paths[f"/{kind}/{{id}}/{name}"] = {"post": _action(f"/{kind}/{{id}}/{name}", action)}
    paths["/bulk"] = {"post": _action("/bulk", BULK)}
    paths["/everything/{id}"] = {"post": _action("/everything/{id}", EVERYTHING)}
    _link(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"asyncsched: {title}", "version": VERSION,
            "description": "Times are RFC 3339 in UTC, durations are seconds. A write by a browser needs the header "
            "`X-Asyncsched: 1` and the same origin; with a bearer token it needs neither.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": {
                    "type": "object", "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}},
        },
    }  # fmt: skip


def _link(paths: dict[str, Any]) -> None:
    """Say of each answer with an id in it which operations take that id."""
    for path, (kind, place) in _LEADS.items():
        (operation,) = paths[path].values()
        answer = next(one for status, one in operation["responses"].items() if status.startswith("2"))
        answer["links"] = {
            taker["operationId"]: {"operationId": taker["operationId"], "parameters": {"id": f"$response.body#{place}"}}
            for other, methods in paths.items()
            if other.startswith(f"/{kind}/{{id}}")
            for taker in methods.values()
        }  # fmt: skip


def _action(path: str, action: Action) -> dict[str, Any]:
    schema = action.body.model_json_schema()
    _inline(schema, schema.pop("$defs", {}))
    header = {
        "name": "X-Asyncsched", "in": "header", "required": True, "schema": {"type": "string", "enum": ["1"]},
        "description": "no other site's page can send it",
    }  # fmt: skip
    return {
        "summary": action.summary, "description": f"Needs the right `{action.role}`.", "operationId": _name("post", path),
        "parameters": [*_path_parameters(path), header],
        "requestBody": {"required": bool({"required", "oneOf"} & set(schema)), "content": {"application/json": {"schema": schema}}},
        "responses": {str(action.status): _answer("what was done"), **_problems(tuple(_ERRORS))},
    }  # fmt: skip


def _inline(schema: Any, parts: dict[str, Any]) -> None:
    """Put the parts of a schema in the place of the references to them."""
    if isinstance(schema, dict):
        reference = schema.pop("$ref", None)
        schema.pop("discriminator", None)  # it names references, and each variant says its actions itself
        if isinstance(reference, str):
            schema.update(parts[reference.rpartition("/")[2]])
        for value in list(schema.values()):
            _inline(value, parts)
    elif isinstance(schema, list):
        for value in schema:
            _inline(value, parts)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": _ONE_LINE}
    if path.startswith("/everything/"):
        schema = {"type": "string", "enum": ["pause", "resume"]}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name in re.findall(r"\{(\w+)\}", path)
    ]  # fmt: skip


def _parameter(one: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if one.kind == "integer":
        schema = {"type": "integer", "minimum": one.least, "maximum": one.most, "default": one.default}
    elif one.kind == "date-time":
        schema = {"type": "string", "format": "date-time"}
    elif one.choices:
        schema["enum"] = list(one.choices)
    elif one.name == "cursor":
        schema |= {"maxLength": 500, "pattern": CURSOR}
    else:
        schema |= {"maxLength": 500, "pattern": _NO_ZERO}
    return {
        "name": one.name,
        "in": "query",
        "required": one.required,
        "description": one.about,
        "schema": schema,
    }


def _answer(about: str) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": {"type": "object"}}}}


def _problems(statuses: tuple[str, ...]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def _name(method: str, path: str) -> str:
    return method + "".join(part.strip("{}").capitalize() for part in path.split("/") if part)
