"""The FastStream worker: each message is a job; its row is marked done, then the message is acknowledged."""

import asyncpg
import orjson
from faststream import FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from order import AMQP_URL, DATABASE
from pydantic import BaseModel


class Ordered(BaseModel):
    """The message."""

    job_id: str
    first: str
    second: str


QUEUE = RabbitQueue("stream", durable=True, queue_type=QueueType.QUORUM)
broker = RabbitBroker(AMQP_URL, logger=None, default_channel=Channel(prefetch_count=100))
app = FastStream(broker)
_pool: "list[asyncpg.Pool]" = []


@app.on_startup
async def _open() -> None:
    _pool.append(await asyncpg.create_pool(f"postgresql://{DATABASE}", min_size=8, max_size=8))


@app.after_shutdown
async def _close() -> None:
    await _pool.pop().close()


@broker.subscriber(QUEUE)
async def demo_print(message: Ordered) -> None:
    """Print both words; mark the job's row as done."""
    line = f"{message.first} {message.second}"
    await _pool[0].execute(
        "update jobs set state = 'succeeded', result = $2, ended_at = now() "
        "where id = $1 and state = 'queued'",
        message.job_id,
        orjson.dumps({"printed": line}).decode(),
    )
