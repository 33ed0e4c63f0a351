"""The account of a salvage: what is lost, where, and what is suspected once and not twice."""

from services.processor.pointcloud.salvage.errands import Batch
from services.processor.pointcloud.salvage.losses import Account, Lost


def test_points_lost_and_kept_are_numbered_as_in_the_source() -> None:
    account = Account(1000)
    account.keep(Batch(300))
    account.lose(200, "a", (10, 20))
    account.keep(Batch(400))
    account.close("cut")
    assert account.lost == [Lost(300, 200, (10, 20), "a"), Lost(900, 100, None, "cut")]
    assert (account.rescued, account.points_lost) == (700, 300)


def test_neighbours_that_are_lost_for_the_same_reason_are_one_range() -> None:
    account = Account(1000)
    account.lose(100, "a", (0, 10))
    account.lose(100, "a", (10, 30))
    account.lose(100, "b", (30, 40))
    account.lose(100, "b", (50, 60))
    assert account.lost == [
        Lost(0, 200, (0, 30), "a"),
        Lost(200, 100, (30, 40), "b"),
        Lost(300, 100, (50, 60), "b"),
    ]


def test_the_points_of_the_only_gap_are_those_that_are_missing() -> None:
    account = Account(1000)
    account.keep(Batch(300))
    account.lose(None, "gap", (10, 20))
    account.keep(Batch(600))
    account.close("cut")
    assert account.lost == [Lost(300, 100, (10, 20), "gap")]


def test_nobody_knows_how_many_points_were_in_each_of_several_gaps() -> None:
    account = Account(1000)
    for place in ((10, 20), (30, 40)):
        account.lose(None, "gap", place)
        account.keep(Batch(300))
    account.close("cut")
    assert [(lost.first, lost.points) for lost in account.lost] == [(0, None), (None, None)]
    assert account.points_lost == 400


def test_what_follows_the_last_point_is_no_gap() -> None:
    account = Account(300)
    account.keep(Batch(300))
    account.lose(None, "gap", (10, 20))
    account.close("cut")
    assert account.lost == []


def test_a_suspected_chunk_and_its_suspected_points_count_once() -> None:
    account = Account(900)
    account.keep_chunk([Batch(300, 2, 5, 9, same=True)])
    account.keep_chunk([Batch(300, 7, 1, 20, same=False)])
    account.keep_chunk([Batch(300, same=True)])
    account.close("")
    assert [(one.first, one.last, one.points) for one in account.suspects] == [
        (5, 9, 2),
        (300, 599, 300),
    ]
    assert account.points_suspected == 302


def test_bounds_that_most_points_contradict_put_none_under_suspicion() -> None:
    account = Account(600)
    account.keep(Batch(600, 301, 0, 599))
    account.close("")
    assert account.points_suspected == 0


def test_a_program_that_compresses_in_a_way_of_its_own_is_no_damage() -> None:
    account = Account(600)
    for _ in range(2):
        account.keep_chunk([Batch(300, same=False)])
    account.close("")
    assert account.points_suspected == 0
    assert account.describe()["suspected"] == []


def test_a_certificate_lists_no_more_ranges_than_people_read() -> None:
    account = Account(5000)
    for number in range(1500):
        account.lose(1, str(number), (number, number + 1))
    said = account.describe()
    assert (len(said["lost"]), said["lost_ranges_not_listed"]) == (1000, 500)
    assert said["points_lost"] == 5000
