"""Failpoints: off unless asked for, and never under a name nobody knows."""

import pytest

from shared.failpoints import FailpointHit, Failpoints


async def test_without_the_variable_every_place_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POINTMILL_FAILPOINTS", raising=False)
    await Failpoints.from_environment().reach("processor.job.claimed")


async def test_a_place_acts_at_the_passage_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTMILL_FAILPOINTS", "processor.job.claimed=raise@2")
    failpoints = Failpoints.from_environment()
    await failpoints.reach("processor.job.claimed")
    with pytest.raises(FailpointHit):
        await failpoints.reach("processor.job.claimed")


@pytest.mark.parametrize("value", ["no.such.place=kill", "processor.job.claimed=explode"])
def test_an_unknown_place_or_action_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("POINTMILL_FAILPOINTS", value)
    with pytest.raises(ValueError, match=r"failpoint|action"):
        Failpoints.from_environment()
