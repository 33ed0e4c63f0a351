"""What follows from a try."""

from uuid import UUID

import pytest

from services.notifier.channels.notice import GiveUp, NotDelivered, Notice, RecipientGone, TryAgain
from services.notifier.notices import judge
from services.notifier.settings import Settings

PAUSES = (5.0, 30.0, 120.0)


def notice(tries: int) -> Notice:
    return Notice(
        UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4), "webhook", "x", "x", {}, tries
    )


def test_a_notice_that_arrived_is_sent() -> None:
    assert judge(notice(1), None, PAUSES) == ("sent", "mark_sent", ())


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_each_pause_is_longer_and_never_quite_the_same(tries: int) -> None:
    pauses = []
    for _ in range(50):
        outcome, statement, (pause, reason) = judge(notice(tries), TryAgain("down"), PAUSES)
        assert (outcome, statement, reason) == ("postponed", "postpone_delivery", "down")
        assert isinstance(pause, float)
        pauses.append(pause)
    expected = PAUSES[tries - 1]
    assert all(0.8 * expected <= pause <= 1.2 * expected for pause in pauses)
    assert max(pauses) - min(pauses) > 0.1 * expected


def test_after_the_last_pause_it_has_failed() -> None:
    assert judge(notice(4), TryAgain("down"), PAUSES) == ("failed", "mark_failed", ("down",))


@pytest.mark.parametrize("failure", [GiveUp("never"), RecipientGone("never")])
def test_what_will_never_work_is_not_tried_again(failure: NotDelivered) -> None:
    assert judge(notice(1), failure, PAUSES) == ("failed", "mark_failed", ("never",))


def test_a_receiver_is_left_alone_as_long_as_it_asks() -> None:
    _, _, (pause, _) = judge(notice(1), TryAgain("busy", after=700), PAUSES)
    assert pause == 700


def test_by_default_a_delivery_is_tried_for_a_day() -> None:
    pauses = Settings.model_fields["retry_seconds"].default
    assert pauses[:3] == (5, 30, 120)
    assert 23 * 3600 < sum(pauses) < 25 * 3600
