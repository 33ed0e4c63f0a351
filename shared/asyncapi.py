"""The AsyncAPI 3.0 document of the bus, from the catalogue of messages and the map.

Source: AsyncAPI Specification 3.0.0; AMQP 0-9-1 bindings 0.3.0. What it says of an operation is said
from Pointmill's side: what it `receive`s, another service may send; what it `send`s, another may hear.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from shared import topology
from shared.messages import CATALOGUE, CONTENT_TYPE, Envelope, Message
from shared.messages.clouds import CloudStoredV1
from shared.messages.jobs import (
    JobAcceptedV1,
    JobCancelledV1,
    JobCancelRequestedV1,
    JobFailedV1,
    JobProgressV1,
    JobQueuedV1,
    JobRejectedV1,
    JobRequestedV1,
    JobRetryScheduledV1,
    JobStartedV1,
    JobSucceededV1,
)
from shared.messages.work import CancelAskedV1, WorkAvailableV1

Json = dict[str, Any]
SCHEMAS = "#/components/schemas"
BINDINGS = "0.3.0"
DESCRIPTION = """\
PostgreSQL is the truth; a message only says that a row has changed. Messages may come twice and out of
order: `id` tells the same one, `sequence` the order within a job. Within a version (`….v1`) only optional
fields are added, so ignore what you do not know; anything else is a new version beside the old one.

Another service asks for a job through the channel `requests` with a broker user of its own, names that
user in the property `user_id` (the broker proves it), and hears the answer in `requestAnswers`. It may
bind queues to `pointmill.events` for its own workspace only.
"""

PARAMETERS = {
    "kind": "The kind of job, with `_` in place of the dot: `demo_print`.",
    "workspace": "The id of the workspace (`none` in an answer to an unknown sender).",
    "what": "The last part of the message's type before its version: `succeeded`.",
    "pool": "The pool of slots.",
    "job": "The id of the job.",
}


@dataclass(frozen=True)
class Channel:
    """What is said under one form of routing key.

    Attributes:
        exchange: where it is published.
        address: the routing key; None where the exchange takes no notice of it.
        messages: what may be said.
        receives: whether Pointmill receives it from others; else it sends it.
        summary: what for.
    """

    exchange: str
    address: str | None
    messages: tuple[type[Message], ...]
    receives: bool
    summary: str


CHANNELS = {
    "requests": Channel(
        topology.REQUESTS, "request.{kind}", (JobRequestedV1,), True, "Ask for a job."
    ),
    "requestAnswers": Channel(
        topology.EVENTS, "{workspace}.job.{kind}.{what}", (JobAcceptedV1, JobRejectedV1), False,
        "What became of a request.",
    ),
    "jobEvents": Channel(
        topology.EVENTS, "{workspace}.job.{kind}.{what}",
        (JobQueuedV1, JobStartedV1, JobRetryScheduledV1, JobCancelRequestedV1, JobSucceededV1,
         JobFailedV1, JobCancelledV1),
        False, "Each move of each job.",
    ),
    "cloudEvents": Channel(
        topology.EVENTS, "{workspace}.cloud.{what}", (CloudStoredV1,), False,
        "What has happened to clouds.",
    ),
    "progress": Channel(
        topology.PROGRESS, "progress.{job}", (JobProgressV1,), False,
        "How far a running job is. Transient, between our own services.",
    ),
    "work": Channel(
        topology.WORK, "work.{pool}", (WorkAvailableV1,), False,
        "Doorbells, between our own services.",
    ),
    "control": Channel(
        topology.CONTROL, None, (CancelAskedV1,), False, "Hints, between our own services."
    ),
}  # fmt: skip


def build_document(version: str) -> Json:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pointmill: messages",
            "version": version,
            "description": DESCRIPTION,
            "externalDocs": {"description": "The HTTP API", "url": "/docs"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "broker": {
                "host": "{broker}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "variables": {"broker": {"description": "Ask the operators.", "default": "broker"}},
            }
        },
        "channels": {name: _channel(channel) for name, channel in CHANNELS.items()},
        "operations": {name: _operation(name, channel) for name, channel in CHANNELS.items()},
        "components": {
            "messages": {type_: _message(class_) for type_, class_ in CATALOGUE.items()},
            "schemas": _schemas((Envelope, *CATALOGUE.values())),
        },
    }


def _channel(channel: Channel) -> Json:
    described: Json = {
        "address": channel.address,
        "summary": channel.summary,
        "servers": [{"$ref": "#/servers/broker"}],
        "messages": {
            message.TYPE: {"$ref": f"#/components/messages/{message.TYPE}"}
            for message in channel.messages
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": channel.exchange,
                    "type": topology.EXCHANGES[channel.exchange],
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": BINDINGS,
            }
        },
    }
    if channel.address is not None:
        described["parameters"] = {
            name: {"description": description}
            for name, description in PARAMETERS.items()
            if f"{{{name}}}" in channel.address
        }
    return described


def _operation(name: str, channel: Channel) -> Json:
    operation: Json = {
        "action": "receive" if channel.receives else "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel.summary,
        "messages": _messages_of(name),
    }
    if name == "requests":
        operation["reply"] = {
            "channel": {"$ref": "#/channels/requestAnswers"},
            "messages": _messages_of("requestAnswers"),
        }
    return operation


def _messages_of(name: str) -> list[Json]:
    return [
        {"$ref": f"#/channels/{name}/messages/{message.TYPE}"}
        for message in CHANNELS[name].messages
    ]


def _message(class_: type[Message]) -> Json:
    return {
        "name": class_.TYPE,
        "title": class_.__name__,
        "summary": (inspect.getdoc(class_) or "").partition("\n")[0],
        "contentType": CONTENT_TYPE,
        "correlationId": {"location": "$message.payload#/correlationid"},
        "bindings": {"amqp": {"messageType": class_.TYPE, "bindingVersion": BINDINGS}},
        "payload": {
            "allOf": [
                {"$ref": f"{SCHEMAS}/Envelope"},
                {
                    "type": "object",
                    "required": ["type", "data"],
                    "properties": {
                        "type": {"const": class_.TYPE},
                        "data": {"$ref": f"{SCHEMAS}/{class_.__name__}"},
                    },
                },
            ]
        },
    }


def _schemas(classes: Sequence[type[Any]]) -> Json:
    """The schemas of all, and of the parts they share, under one roof."""
    _, found = models_json_schema(
        [(class_, "validation") for class_ in classes], ref_template=f"{SCHEMAS}/{{model}}"
    )
    return dict(found["$defs"])
