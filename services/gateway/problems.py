"""Every error a client of the gateway may see: one table, one exception, one document (RFC 9457)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from shared.cron import CronInvalid, TimezoneUnknown
from shared.errors import PointmillError

MEDIA_TYPE = "application/problem+json"
PAGE = "/docs/problems"


@dataclass(frozen=True)
class Kind:
    """One line of the table: a code, the status it travels under, and what to do about it."""

    code: str
    status: int
    title: str
    remedy: str


class FieldError(BaseModel):
    """One value of the request that was refused."""

    field: Annotated[
        str,
        Field(
            description="The member of the body (dotted), query, path or header.", examples=["name"]
        ),
    ]
    message: Annotated[str, Field(description="What is wrong with it.")]


class ProblemDocument(BaseModel):
    """What went wrong, for people and for programs (RFC 9457). Programs decide by `code`."""

    type: Annotated[str, Field(description="Where the problem is described.")]
    title: str
    status: int
    detail: Annotated[str, Field(description="What happened this time.")]
    code: Annotated[str, Field(description="Stable and snake_case.")]
    remedy: Annotated[str, Field(description="What to do about it.")]
    request_id: Annotated[str | None, Field(description="Tell it to the operators.")] = None
    errors: Annotated[list[FieldError], Field(description="The refused values, if any.")] = []


class Problem(PointmillError):
    """A request is refused; the middleware answers with the problem document."""

    def __init__(
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse with a kind; `errors` are pairs of a field and what is wrong with it."""
        super().__init__(detail or f"{kind.title}.", remedy=kind.remedy)
        self.code = kind.code
        self.title = kind.title
        self.status = kind.status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @classmethod
    def of_field(cls, kind: Kind, field: str, message: str) -> "Problem":
        """The refusal of a single value."""
        return cls(kind, f"{field}: {message}", errors=[(field, message)])

    @classmethod
    def of(cls, error: PointmillError) -> "Problem":
        """The problem that stands for an error raised below HTTP; unlisted codes become 500."""
        if isinstance(error, Problem):
            return error
        kind = BY_CODE.get(error.code)
        if kind is None or kind is INTERNAL_ERROR:
            return cls(INTERNAL_ERROR)
        problem = cls(kind, error.detail, headers={"Retry-After": "5"} if error.retryable else {})
        problem.remedy = error.remedy
        return problem

    def response(self, request_id: str | None) -> web.Response:
        """The answer to send."""
        document: dict[str, Any] = {
            "type": f"{PAGE}#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.remedy,
            "errors": [{"field": field, "message": message} for field, message in self.errors],
        }
        if request_id is not None:
            document["request_id"] = request_id
        return web.Response(
            body=orjson.dumps(document, default=str),
            status=self.status,
            headers=self.headers,
            content_type=MEDIA_TYPE,
        )


# The request itself.
BAD_REQUEST = Kind("bad_request", 400, "The request could not be read", "Mend the request.")
MALFORMED_JSON = Kind(
    "malformed_json", 400, "The body is not well-formed JSON", "Send one JSON document in UTF-8."
)
BODY_CUT = Kind(
    "body_cut", 400, "The body ended before it was complete", "Send the whole body again."
)
UNAUTHORIZED = Kind(
    "unauthorized",
    401,
    "No valid API key, token or session came with the request",
    "Send the header `Authorization: Bearer <key>` with a key that is in force, or sign in.",
)
OPERATORS_ONLY = Kind(
    "operators_only",
    403,
    "Only an operator's key may do this",
    "Ask the operators, or use a key of theirs.",
)
ROLE_TOO_LOW = Kind(
    "role_too_low",
    403,
    "Your role does not allow this",
    "Ask an admin of the workspace to do it, or for a key of the role that is named.",
)
ORIGIN_NOT_ALLOWED = Kind(
    "origin_not_allowed",
    403,
    "Pages of this origin are not let in",
    "Ask the operators to add the origin to GATEWAY_CORS_ORIGINS.",
)
TOO_MANY_REQUESTS = Kind(
    "too_many_requests",
    429,
    "The key has sent too many requests",
    "Wait as long as `Retry-After` says; `RateLimit` tells what is left.",
)
NOT_FOUND = Kind(
    "not_found", 404, "There is nothing at this address", "See /docs for what there is."
)
METHOD_NOT_ALLOWED = Kind(
    "method_not_allowed",
    405,
    "The address does not take this method",
    "Use one of the methods in the `Allow` header.",
)
BODY_TOO_SLOW = Kind(
    "body_too_slow", 408, "The body stopped arriving", "Send it again over a steadier connection."
)
PRECONDITION_FAILED = Kind(
    "precondition_failed",
    412,
    "Somebody has changed it meanwhile",
    "Read it again, then send its new `ETag` as `If-Match`.",
)
BODY_TOO_LARGE = Kind(
    "body_too_large", 413, "The body is larger than the limit", "Send a smaller one."
)
OBJECT_TOO_LARGE = Kind(
    "object_too_large",
    413,
    "The file is larger than the limit",
    "Split the file, or ask the operators for a higher limit.",
)
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported_media_type",
    415,
    "The body is of a type this address does not take",
    "Send JSON with `Content-Type: application/json`.",
)
UNSUPPORTED_ENCODING = Kind(
    "unsupported_encoding",
    415,
    "The body is compressed in transit",
    "Send the bytes as they are, without `Content-Encoding`.",
)
UPGRADE_REQUIRED = Kind(
    "upgrade_required",
    426,
    "This address speaks WebSocket only",
    "Connect with a WebSocket, or follow GET /v1/events.",
)
RANGE_NOT_SATISFIABLE = Kind(
    "range_not_satisfiable",
    416,
    "The file has no bytes in that range",
    "Ask for bytes within the size in the `Content-Range` header.",
)
INVALID_REQUEST = Kind(
    "invalid_request",
    422,
    "The request holds values that are not allowed",
    "Mend the values named in `errors`.",
)
INVALID_CURSOR = Kind(
    "invalid_cursor", 422, "The cursor is not one of ours", "Start the list again without a cursor."
)

# Projects and clouds.
PROJECT_NOT_FOUND = Kind(
    "project_not_found", 404, "There is no such project", "List the projects with GET /v1/projects."
)
PROJECT_NAME_TAKEN = Kind(
    "project_name_taken",
    409,
    "Another project has this name",
    "Choose another name, or use that project.",
)
PROJECT_NOT_EMPTY = Kind(
    "project_not_empty", 409, "The project still holds clouds", "Delete or move its clouds first."
)
CLOUD_NOT_FOUND = Kind(
    "cloud_not_found", 404, "There is no such cloud", "List the clouds with GET /v1/clouds."
)
CLOUD_ALREADY_STORED = Kind(
    "cloud_already_stored",
    409,
    "The cloud has its file already",
    "A cloud's file never changes: upload the new version as a new cloud.",
)
CLOUD_EMPTY = Kind(
    "cloud_empty", 409, "The cloud has no file yet", "Upload one with PUT /v1/clouds/{id}/file."
)
CHECKSUM_MISMATCH = Kind(
    "checksum_mismatch", 422, "The checksum does not match the bytes", "Send the file again."
)
NO_UPLOAD_SESSIONS = Kind(
    "no_upload_sessions",
    409,
    "The store takes no files from anybody but the gateway",
    "Upload the file with PUT /v1/clouds/{id}/file.",
)
UPLOAD_INCOMPLETE = Kind(
    "upload_incomplete",
    409,
    "The bucket does not hold the file",
    "Send the rest of the bytes to the session's address, then complete it again.",
)
UPLOAD_EXPIRED = Kind(
    "upload_expired",
    409,
    "The file was sent to the bucket too long ago",
    "Ask for a new session and send the file again.",
)
LENGTH_MISMATCH = Kind(
    "length_mismatch",
    422,
    "The bucket holds another number of bytes",
    "Ask for a new session and send the file again.",
)
EMPTY_FILE = Kind("empty_file", 422, "The file is empty", "Send a .las or .laz file as the body.")
UNSUPPORTED_EXTENSION = Kind(
    "unsupported_extension",
    422,
    "The file's name does not end in .las or .laz",
    "Send a LAS or LAZ file, and its name in `?name=`.",
)

# Jobs, kinds and products.
JOB_NOT_FOUND = Kind(
    "job_not_found", 404, "There is no such job", "List the jobs with GET /v1/jobs."
)
JOB_ENDED = Kind("job_ended", 409, "The job has ended already", "Nothing is left to be cancelled.")
JOB_NOT_RETRYABLE = Kind(
    "job_not_retryable",
    409,
    "Only a job that failed or was cancelled can be retried",
    "Wait for its end, or create a new job.",
)
PARENT_NOT_FOUND = Kind(
    "parent_not_found",
    404,
    "A job to wait for is not there",
    "Name jobs of your own: list them with GET /v1/jobs.",
)
TOO_MANY_PARENTS = Kind(
    "too_many_parents",
    422,
    "A job can wait for 100 others at most",
    "Let jobs in between gather some of them, and wait for those.",
)
PIPELINE_TOO_LONG = Kind(
    "pipeline_too_long",
    422,
    "At most 100 jobs can wait in a row behind one",
    "Order it when those before have ended, without naming them.",
)
UNKNOWN_KIND = Kind(
    "unknown_kind", 422, "No processor knows this kind of job", "List the kinds with GET /v1/kinds."
)
KIND_NOT_FOUND = Kind(
    "kind_not_found", 404, "There is no such kind of job", "List the kinds with GET /v1/kinds."
)
WORKSPACE_NOT_FOUND = Kind(
    "workspace_not_found",
    404,
    "There is no such workspace",
    "List the workspaces with GET /v1/workspaces.",
)
IDEMPOTENCY_KEY_REUSED = Kind(
    "idempotency_key_reused",
    422,
    "The Idempotency-Key stands for another request",
    "Use a new key for a new request.",
)
IDEMPOTENCY_KEY_IN_USE = Kind(
    "idempotency_key_in_use",
    409,
    "The first request with this Idempotency-Key has not ended",
    "Send the same request again in a moment: the answer of the first will be yours.",
)
PRODUCT_NOT_FOUND = Kind(
    "product_not_found", 404, "There is no such product", "List what there is under /products."
)
PRODUCT_MEMBER_NOT_FOUND = Kind(
    "product_member_not_found",
    404,
    "There is no such file in the archive",
    "Begin with `tileset.json`, which names all others.",
)
NOT_AN_ARCHIVE = Kind(
    "not_an_archive",
    422,
    "The product is not an archive of files",
    "Download it whole, or in ranges.",
)
TICKET_INVALID = Kind(
    "ticket_invalid",
    403,
    "The link is not one of ours, or no longer good",
    "Ask for a new link.",
)
SIGNING_UNAVAILABLE = Kind(
    "signing_unavailable",
    503,
    "This gateway cannot sign links",
    "The operators have to set GATEWAY_SIGNING_SECRET, the same for all replicas.",
)

JOB_NOT_UNIQUE = Kind(
    "job_not_unique",
    409,
    "A job with this unique key has not ended",
    "Wait for its end or cancel it; with `on_duplicate: existing` that job is the answer.",
)

# Schedules.
SCHEDULE_NOT_FOUND = Kind(
    "schedule_not_found",
    404,
    "There is no such schedule",
    "List the schedules with GET /v1/schedules.",
)
SCHEDULE_NAME_TAKEN = Kind(
    "schedule_name_taken",
    409,
    "Another schedule has this name",
    "Choose another name, or change that schedule.",
)
SCHEDULE_OVER = Kind(
    "schedule_over",
    409,
    "The only time of the schedule has passed",
    "Give it a new one with PATCH and `at`, then resume it.",
)
INVALID_CRON = Kind("invalid_cron", 422, CronInvalid.title, CronInvalid.remedy)
UNKNOWN_TIMEZONE = Kind("unknown_timezone", 422, TimezoneUnknown.title, TimezoneUnknown.remedy)
TIME_PASSED = Kind(
    "time_passed",
    422,
    "The time has passed already",
    "Give a later time; it is the database's clock that counts.",
)

# Dead letters.
DEAD_LETTER_NOT_FOUND = Kind(
    "dead_letter_not_found",
    404,
    "There is no such dead letter",
    "List the dead letters with GET /v1/dead-letters.",
)
DEAD_LETTER_SETTLED = Kind(
    "dead_letter_settled",
    409,
    "The dead letter is not open",
    "Read it again: somebody has replayed or discarded it, or has just asked for that.",
)
DEAD_LETTER_UNREADABLE = Kind(
    "dead_letter_unreadable",
    422,
    "No service could read the mended message",
    "Mend what `errors` names; /asyncapi.json describes every message.",
)

# Webhooks.
WEBHOOK_NOT_FOUND = Kind(
    "webhook_not_found", 404, "There is no such webhook", "List the webhooks with GET /v1/webhooks."
)

# Access.
KEY_NOT_FOUND = Kind("key_not_found", 404, "There is no such key", "List them with GET /v1/keys.")
KEY_NOT_IN_FORCE = Kind(
    "key_not_in_force", 409, "The key was revoked or has expired", "Make a new one."
)
TOO_MANY_KEYS = Kind(
    "too_many_keys", 409, "The workspace has as many keys as it may", "Revoke some of them first."
)
MEMBER_NOT_FOUND = Kind(
    "member_not_found", 404, "There is no such member", "List them with GET /v1/members."
)
MEMBER_EXISTS = Kind(
    "member_exists", 409, "Somebody with this address is a member already", "Change that member."
)
LAST_ADMIN = Kind(
    "last_admin", 409, "It is the only admin of the workspace", "Make somebody else an admin first."
)
NOT_A_MEMBER = Kind(
    "not_a_member",
    403,
    "You belong to no workspace",
    "Ask an admin to add the address that you sign in with.",
)
WORKSPACE_NEEDED = Kind(
    "workspace_needed",
    400,
    "You belong to several workspaces",
    "Name one of them in the header `Pointmill-Workspace`.",
)
CROSS_SITE = Kind(
    "cross_site",
    403,
    "The request comes from another site",
    "Send it from a page of this address, or with a key or token in place of the cookie.",
)
NO_SIGN_IN = Kind(
    "no_sign_in",
    404,
    "Nobody can sign in here with a browser",
    "Use an API key, or ask the operators to name an OpenID provider.",
)
SIGN_IN_FAILED = Kind("sign_in_failed", 400, "The sign-in did not succeed", "Begin it again.")
SIGN_IN_UNAVAILABLE = Kind(
    "sign_in_unavailable", 503, "The OpenID provider is not available", "Try again in a moment."
)

# Ourselves.
INTERNAL_ERROR = Kind(
    "internal_error",
    500,
    "Something went wrong inside Pointmill",
    "Try again; if it stays, tell the operators the request id.",
)
UNAVAILABLE = Kind(
    "unavailable", 503, "A part of Pointmill is not available", "Try again in a moment."
)
DATABASE_UNAVAILABLE = Kind(
    "database_unavailable", 503, "The database is not available", "Try again in a moment."
)
STORAGE_UNAVAILABLE = Kind(
    "storage_unavailable", 503, "The object store is not available", "Try again in a moment."
)
BROKER_UNAVAILABLE = Kind(
    "broker_unavailable", 503, "The message broker is not available", "Try again in a moment."
)

TABLE: tuple[Kind, ...] = tuple(value for value in globals().values() if isinstance(value, Kind))
BY_CODE: dict[str, Kind] = {kind.code: kind for kind in TABLE}
# What aiohttp itself refuses (an unknown address, a wrong method) is told by its status alone.
BY_STATUS: dict[int, Kind] = {
    kind.status: kind
    for kind in (
        BAD_REQUEST,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        BODY_TOO_SLOW,
        BODY_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        RANGE_NOT_SATISFIABLE,
    )
}
