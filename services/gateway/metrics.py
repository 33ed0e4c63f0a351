"""Every metric of the gateway, declared once."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From an answer out of memory to a large upload.
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600)


@dataclass(frozen=True)
class Metrics:
    """The metrics of one gateway, in a registry of its own so that two can live in one process."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    in_flight: Gauge
    upload_bytes: Counter
    uploads: Counter
    streams: Gauge
    relayed: Counter
    # `labels()` costs more than the observation itself; its results are kept by their values.
    _requests: dict[tuple[str, str, int], Counter] = field(default_factory=dict)
    _seconds: dict[tuple[str, str], Histogram] = field(default_factory=dict)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        by_status = (method, route, status)
        counter = self._requests.get(by_status)
        if counter is None:
            counter = self._requests[by_status] = self.requests.labels(method, route, str(status))
        counter.inc()
        by_route = (method, route)
        histogram = self._seconds.get(by_route)
        if histogram is None:
            histogram = self._seconds[by_route] = self.seconds.labels(method, route)
        histogram.observe(seconds)


def open_metrics() -> Metrics:
    """A fresh set of metrics."""
    registry = CollectorRegistry()
    return Metrics(
        registry=registry,
        requests=Counter(
            "pointmill_http_requests",
            "Answered requests, by route and status.",
            ("method", "route", "status"),
            registry=registry,
        ),
        seconds=Histogram(
            "pointmill_http_request_seconds",
            "Time from the request's headers to the last byte of its answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=registry,
        ),
        in_flight=Gauge(
            "pointmill_http_requests_in_flight", "Requests being served.", registry=registry
        ),
        upload_bytes=Counter(
            "pointmill_upload_bytes", "Bytes of files taken in and stored.", registry=registry
        ),
        uploads=Counter(
            "pointmill_uploads", "Uploads, by how they ended.", ("outcome",), registry=registry
        ),
        streams=Gauge("pointmill_event_streams", "Open streams of job events.", registry=registry),
        relayed=Counter(
            "pointmill_outbox_relayed", "Messages the broker has confirmed.", registry=registry
        ),
    )
