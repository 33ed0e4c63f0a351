"""What a route's signature says: where each argument comes from and what the answer is.

Everything here runs when a route is registered; what is left for a request are plain callables.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.gateway.bodies import Upload, is_json, read_json
from services.gateway.fields import IdempotencyKey
from services.gateway.problems import (
    IDEMPOTENCY_KEY_IN_USE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_REQUEST,
    Kind,
    Problem,
)
from services.gateway.refusals import refuse_values

T = TypeVar("T")
KEY_HEADER = "Idempotency-Key"
Fetch = Callable[[web.Request], Awaitable[Any]]
Read = Callable[[web.Request], Any]


@dataclass(frozen=True)
class Reply(Generic[T]):
    """An answer with headers of its own, or with another status than the route's."""

    content: T
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True)
class Query:
    """Marks the parameter that is the query as a model."""


@dataclass(frozen=True)
class Header:
    """Marks a parameter that is a header."""

    name: str


@dataclass(frozen=True)
class Once:
    """Marks the gateway of a creating route: with an `Idempotency-Key`, all it does is done once."""


@dataclass(frozen=True)
class Parameter:
    """A path or header parameter, for the document."""

    name: str
    place: str
    type: Any
    required: bool


@dataclass(frozen=True)
class Body:
    """The body: JSON of a model, raw, or either by its content type."""

    name: str
    model: Any
    raw: bool
    read: Fetch


@dataclass(frozen=True)
class Signature:
    """A route's signature, understood.

    Attributes:
        fetch: arguments that are awaited, in order (who asks comes before what is asked).
        read: arguments read from path, query and headers.
        refuses_query: whether any query is one too many.
        parameters: the path and header parameters, for the document.
        query: the model of the query, if there is one.
        body: the body, if it takes one.
        answer: the type of the answer; None when there is none or it is a response of its own.
        secured: whether an API key is needed.
        role: the least role that may call it, if that is what it asks for.
        problems: what the classes with `from_request` may refuse.
        streams: whether the answer is a response of its own.
        caller: the parameter that takes who asks.
        once: the parameter that takes the gateway, where an `Idempotency-Key` is taken.
    """

    fetch: tuple[tuple[str, Fetch], ...]
    read: tuple[tuple[str, Read], ...]
    refuses_query: bool
    parameters: tuple[Parameter, ...]
    query: type[BaseModel] | None
    body: Body | None
    answer: Any
    secured: bool
    role: str | None
    problems: tuple[Kind, ...]
    streams: bool
    caller: str | None
    once: str | None


def read_signature(function: Callable[..., Any], path: str) -> Signature:
    """Understand the signature of a route's function, or raise TypeError with the reason."""
    hints = get_type_hints(function, include_extras=True)
    answer, streams = _answer(hints.pop("return", None))
    fetch: list[tuple[str, Fetch]] = []
    read: list[tuple[str, Read]] = []
    parameters: list[Parameter] = []
    query: type[BaseModel] | None = None
    body: Body | None = None
    given: list[Any] = []
    caller: str | None = None
    once: str | None = None
    for name, parameter in inspect.signature(function).parameters.items():
        plain, marker = _plain(hints[name])
        if plain is web.Request:
            read.append((name, _the_request))
        elif hasattr(plain, "from_request"):
            fetch.append((name, plain.from_request))
            given.append(plain)
            if getattr(plain, "secured", False):
                caller = name
            if isinstance(marker, Once):
                once = name
                parameters.append(Parameter(KEY_HEADER, "header", IdempotencyKey, required=False))
        elif f"{{{name}}}" in path:
            read.append((name, _path_reader(name, hints[name])))
            parameters.append(Parameter(name, "path", hints[name], required=True))
        elif isinstance(marker, Query):
            query = plain
            read.append((name, _query_reader(plain)))
        elif isinstance(marker, Header):
            read.append((name, _header_reader(marker.name, hints[name], parameter.default)))
            required = parameter.default is inspect.Parameter.empty
            parameters.append(Parameter(marker.name, "header", hints[name], required=required))
        else:
            body = _body(name, plain)
    return Signature(
        fetch=tuple(fetch),
        read=tuple(read),
        refuses_query=query is None and not any(take is _the_request for _, take in read),
        parameters=tuple(parameters),
        query=query,
        body=body,
        answer=answer,
        secured=any(getattr(one, "secured", False) for one in given),
        role=next((str(one.needs) for one in given if hasattr(one, "needs")), None),
        problems=tuple(kind for one in given for kind in getattr(one, "problems", ()))
        + ((IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_IN_USE) if once else ()),
        streams=streams,
        caller=caller,
        once=once,
    )


def _the_request(request: web.Request) -> web.Request:
    return request


def _plain(hint: Any) -> tuple[Any, Any]:
    if get_origin(hint) is Annotated:
        plain, *extras = get_args(hint)
        marker = next((extra for extra in extras if isinstance(extra, Query | Header | Once)), None)
        return plain, marker
    return hint, None


def _answer(hint: Any) -> tuple[Any, bool]:
    if hint in {None, NoneType}:
        return None, False
    if isinstance(hint, type) and issubclass(hint, web.StreamResponse):
        return None, True
    return (get_args(hint)[0] if get_origin(hint) is Reply else hint), False


def _path_reader(name: str, hint: Any) -> Read:
    validate = TypeAdapter(hint).validate_strings

    def read(request: web.Request) -> Any:
        try:
            return validate(request.match_info[name])
        except ValidationError as error:
            raise refuse_values(error, name) from error

    return read


def _query_reader(model: type[BaseModel]) -> Read:
    if model.model_config.get("extra") != "forbid":
        raise TypeError(f"{model.__name__}: a query model must refuse unknown parameters")
    validate = TypeAdapter(model).validate_strings

    def read(request: web.Request) -> Any:
        values = request.query
        flat = dict(values)
        if len(flat) != len(values):
            twice = next(name for name in flat if len(values.getall(name)) > 1)
            raise Problem.of_field(INVALID_REQUEST, twice, "is given more than once")
        try:
            return validate(flat)
        except ValidationError as error:
            raise refuse_values(error, "query") from error

    return read


def refuse_query(request: web.Request) -> None:
    """Refuse a query where none is known: a misspelt parameter must not pass for no parameter."""
    if request.query_string:
        name = next(iter(request.query), "query")
        raise Problem.of_field(INVALID_REQUEST, name, "is not a known parameter")


def _header_reader(header: str, hint: Any, default: Any) -> Read:
    validate = TypeAdapter(hint).validate_strings

    def read(request: web.Request) -> Any:
        value = request.headers.get(header)
        if value is None:
            if default is inspect.Parameter.empty:
                raise Problem.of_field(INVALID_REQUEST, header, "is required")
            return default
        try:
            return validate(value)
        except ValidationError as error:
            raise refuse_values(error, header) from error

    return read


def _body(name: str, hint: Any) -> Body:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    raw = Upload in members
    models = [member for member in members if member is not Upload]
    if any(not (isinstance(model, type) and issubclass(model, BaseModel)) for model in models):
        raise TypeError(f"{name}: say where it comes from (Query, Header, a path part or a model)")
    if not models:
        return Body(name, None, raw=True, read=_take_upload)
    model: Any = models[0] if len(models) == 1 else Union[tuple(models)]  # noqa: UP007 - dynamic
    take_json = _json_reader(model)
    return Body(name, model, raw=raw, read=_either(take_json) if raw else take_json)


async def _take_upload(request: web.Request) -> Upload:
    return Upload.of(request)


def _json_reader(model: Any) -> Fetch:
    validate = TypeAdapter(model).validator.validate_json

    async def read(request: web.Request) -> Any:
        try:
            # Strict: 0 is not false, and "1" is not 1.
            return validate(await read_json(request), strict=True)
        except ValidationError as error:
            raise refuse_values(error, "body") from error

    return read


def _either(take_json: Fetch) -> Fetch:
    async def read(request: web.Request) -> Any:
        return await take_json(request) if is_json(request) else Upload.of(request)

    return read
