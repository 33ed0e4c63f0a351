"""How much is done at once: as much as the memory given allows, never nothing."""

import pytest

from services.processor.pointcloud.plan import processes_within

MIB = 1 << 20


@pytest.mark.parametrize(
    ("memory", "workers", "processes"),
    [(1024, 2, 2), (1024, 64, 5), (512, 8, 2), (256, 8, 1), (1, 8, 1)],
)
def test_processes_are_as_many_as_there_is_memory_for(
    memory: int, workers: int, processes: int
) -> None:
    assert processes_within(memory * MIB, workers)[0] == processes


def test_batches_shrink_only_when_one_process_is_already_too_much() -> None:
    batches = [processes_within(memory * MIB, 2)[1] // MIB for memory in (1024, 256, 192, 1)]
    assert batches[0] == 36
    assert batches == sorted(batches, reverse=True)
    assert batches[-1] == 4
