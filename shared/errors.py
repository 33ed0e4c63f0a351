"""The errors that cross a boundary: each has a stable code and a sentence that says what to do."""

from typing import Any, ClassVar


class PointmillError(Exception):
    """Something a person or a program is told about.

    Attributes:
        code: stable, snake_case; programs decide by it.
        title: what happened, the same for every occurrence of the code.
        detail: what happened this time.
        remedy: what the reader can do about it.
        retryable: whether the same work may succeed later without any change.
    """

    code: str = "internal_error"
    title: str = "Something went wrong inside Pointmill"
    remedy: str = "Try again; if it stays, tell the operators the time and the code."
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, remedy: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if remedy is not None:
            self.remedy = remedy

    def to_dict(self) -> dict[str, Any]:
        """The error as it stands in a job's `error` and in a problem document."""
        return {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "remedy": self.remedy,
        }


class TaskFailed(PointmillError):
    """The work itself cannot succeed: the input or the parameters are at fault. Never retried."""

    def __init__(self, code: str, title: str, detail: str, remedy: str) -> None:
        super().__init__(detail, remedy=remedy)
        self.code = code
        self.title = title


class Unavailable(PointmillError):
    """A part we depend on does not answer; the work may succeed later."""

    code = "unavailable"
    title = "A part of Pointmill is not available"
    remedy = "Nothing is lost; try again in a moment."
    retryable = True


class StorageUnavailable(Unavailable):
    """The object store does not answer or answers nonsense."""

    code = "storage_unavailable"
    title = "The object store is not available"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer in time."""

    code = "database_unavailable"
    title = "The database is not available"


class BrokerUnavailable(Unavailable):
    """RabbitMQ did not confirm in time. The message may or may not have arrived."""

    code = "broker_unavailable"
    title = "The message broker is not available"


class ObjectExists(PointmillError):
    """An object of this key is already there; objects are never overwritten."""

    code = "object_exists"
    title = "The object already exists"
    remedy = "Store it under another key."


class ObjectMissing(PointmillError):
    """No object of this key."""

    code = "object_missing"
    title = "The object is not in the store"
    remedy = "Upload the file again."


class ObjectTooLarge(PointmillError):
    """More bytes arrived than the limit allows."""

    code = "object_too_large"
    title = "The file is larger than the limit"
    remedy = "Split the file, or ask the operators for a higher limit."


class ChecksumMismatch(PointmillError):
    """The bytes are not those the checksum was made of."""

    code = "checksum_mismatch"
    title = "The checksum does not match the bytes"
    remedy = "Send the file again."
