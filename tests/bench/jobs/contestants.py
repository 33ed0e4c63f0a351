"""The four systems, each as its users would run it: one process that takes orders, one that works."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from deploy.local import postgres, rabbitmq
from deploy.local.ports import choose
from tests.bench.jobs.pair import RIVALS_DATABASE, RIVALS_VHOST, Pair
from tests.bench.jobs.programs import KEPT, Start

MANY, FEW = 20_000, 6_000


@dataclass(frozen=True)
class Contestant:
    """A system that takes orders over HTTP and does them.

    Attributes:
        mark: its letter in the table.
        name: what it is.
        database: where its table `jobs` is.
        jobs: how many light jobs one worker process has to do.
        gateway: how the process that takes orders is started, given its port.
        worker: how a worker process is started.
        ready: the path that answers once it takes orders.
    """

    mark: str
    name: str
    database: str
    jobs: int
    gateway: Callable[[Pair, int], Start]
    worker: Callable[[Pair], Start]
    ready: str


def free_port(name: str) -> int:
    """A port for a program, the same one again where possible."""
    return choose(set(), f"bench {name}")


def _rival_env(pair: Pair) -> dict[str, str]:
    return {
        "BENCH_DATABASE_URL": pair.url(postgres.OWNER, RIVALS_DATABASE),
        "BENCH_AMQP_URL": pair.amqp_url(rabbitmq.ADMIN, RIVALS_VHOST),
    }


def _uvicorn(application: str, more: dict[str, str], pair: Pair, port: int) -> Start:
    words = ["-m", "uvicorn", application, "--port", str(port), "--loop", "uvloop"]
    words += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return Start(f"gateway-{application}", words, _rival_env(pair) | more, rival=True)


def _celery(more: dict[str, str], pair: Pair) -> Start:
    # One process; its threads wait for several commits at a time, which is four times as fast as
    # `--pool solo`. Nothing that it tells other workers.
    words = ["-m", "celery", "-A", "celery_jobs", "worker", "--pool", "threads", "-c", "8"]
    words += ["-l", "warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return Start("worker-celery", words, _rival_env(pair) | more, rival=True)


def _faststream(pair: Pair) -> Start:
    words = ["-m", "faststream", "run", "stream_jobs:app", "--log-level", "warning"]
    return Start("worker-faststream", words, _rival_env(pair), rival=True)


def gateway(pair: Pair, port: int) -> Start:
    """Our gateway as it is deployed; where it would keep files is a folder."""
    env = {
        "GATEWAY_DATABASE_URL": pair.url("gateway"),
        "GATEWAY_AMQP_URL": pair.amqp_url("gateway"),
        "GATEWAY_STORAGE_URL": (KEPT / "objects").as_uri(),
        "GATEWAY_PORT": str(port),
        "GATEWAY_REQUESTS_PER_SECOND": "0",  # one key sends all there is
    }
    return Start("gateway", ["-m", "services.gateway"], env)


def processor(pair: Pair, name: str = "processor") -> Start:
    """Our processor as it is deployed."""
    env = {
        "PROCESSOR_DATABASE_URL": pair.url("processor"),
        "PROCESSOR_AMQP_URL": pair.amqp_url("processor"),
        "PROCESSOR_STORAGE_URL": (KEPT / "objects").as_uri(),
        "PROCESSOR_PORT": str(free_port(name)),
        "PROCESSOR_SCRATCH": str(KEPT / "scratch"),
    }
    return Start(name, ["-m", "services.processor"], env)


SAFE = {"BENCH_SAFE": "1"}
CELERY = Contestant(
    mark="a",
    name="FastAPI + SQLAlchemy + Celery, tuned",
    database=RIVALS_DATABASE,
    jobs=FEW,
    gateway=partial(_uvicorn, "celery_web:app", {}),
    worker=partial(_celery, {}),
    ready="/openapi.json",
)
SAFE_CELERY = Contestant(
    mark="b",
    name="the same made safe (confirms, late acks, quorum queue)",
    database=RIVALS_DATABASE,
    jobs=FEW,
    gateway=partial(_uvicorn, "celery_web:app", SAFE),
    worker=partial(_celery, SAFE),
    ready="/openapi.json",
)
FASTSTREAM = Contestant(
    mark="c",
    name="FastAPI + asyncpg + FastStream",
    database=RIVALS_DATABASE,
    jobs=MANY,
    gateway=partial(_uvicorn, "stream_web:app", {}),
    worker=_faststream,
    ready="/openapi.json",
)
POINTMILL = Contestant(
    mark="d",
    name="Pointmill",
    database=postgres.OWNER,
    jobs=MANY,
    gateway=gateway,
    worker=processor,
    ready="/readyz",
)
ALL = (CELERY, SAFE_CELERY, FASTSTREAM, POINTMILL)
