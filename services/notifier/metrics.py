"""Everything the notifier measures, declared once."""

from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """The notifier's metrics.

    Attributes:
        planned: ended jobs whose deliveries were made, by how the notifier learned of the end
            (`message`, or `reconciled` when the message was lost).
        tries: tries of deliveries, by channel and outcome (`sent`, `postponed`, `failed`).
        seconds: how long a try took, by channel.
        sending: tries going on now.
        silenced: webhooks disabled because their receiver is gone.
    """

    planned: Counter
    tries: Counter
    seconds: Histogram
    sending: Gauge
    silenced: Counter


def open_metrics(registry: CollectorRegistry = REGISTRY) -> Metrics:
    """Declare the metrics in a registry; the default one is what /metrics shows."""
    return Metrics(
        planned=Counter(
            "pointmill_notices_planned",
            "Ended jobs whose deliveries were made",
            ["source"],
            registry=registry,
        ),
        tries=Counter(
            "pointmill_delivery_tries",
            "Tries of deliveries that have ended",
            ["channel", "outcome"],
            registry=registry,
        ),
        seconds=Histogram(
            "pointmill_delivery_seconds",
            "Wall time of a try",
            ["channel"],
            buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=registry,
        ),
        sending=Gauge("pointmill_deliveries_sending", "Tries going on now", registry=registry),
        silenced=Counter(
            "pointmill_webhooks_disabled",
            "Webhooks disabled because their receiver is gone",
            registry=registry,
        ),
    )
