"""Tickets: good at every replica that shares a secret, for one purpose, until their end."""

import time

import pytest

from services.gateway.problems import Problem
from services.gateway.signing import Signer

SOON = time.time() + 3600
ALLOWED = {"job": "1"}


def test_another_replica_reads_what_this_one_signed() -> None:
    ticket = Signer(["a" * 32]).sign("product", ALLOWED, SOON)
    assert Signer(["a" * 32]).read("product", ticket) == (ALLOWED, int(SOON))


def test_an_old_secret_is_good_until_it_is_taken_away() -> None:
    ticket = Signer(["old"]).sign("product", ALLOWED, SOON)
    assert Signer(["new", "old"]).read("product", ticket)[0] == ALLOWED
    with pytest.raises(Problem, match="not one of ours"):
        Signer(["new"]).read("product", ticket)


def test_a_ticket_is_for_one_purpose_only() -> None:
    ticket = Signer(["a"]).sign("product", ALLOWED, SOON)
    with pytest.raises(Problem, match="not one of ours"):
        Signer(["a"]).read("live", ticket)


@pytest.mark.parametrize("ticket", ["", "A", "AAAA", "é", "....", "A" * 500])
def test_what_is_no_ticket_is_refused(ticket: str) -> None:
    with pytest.raises(Problem, match="not one of ours"):
        Signer(["a"]).read("product", ticket)


def test_every_changed_letter_is_noticed() -> None:
    signer = Signer(["a"])
    ticket = signer.sign("product", ALLOWED, SOON)
    for at, letter in enumerate(ticket):
        changed = ticket[:at] + ("B" if letter == "A" else "A") + ticket[at + 1 :]
        with pytest.raises(Problem):
            signer.read("product", changed)


def test_a_ticket_ends() -> None:
    signer = Signer(["a"])
    with pytest.raises(Problem, match="no longer good"):
        signer.read("product", signer.sign("product", ALLOWED, time.time() - 1))


def test_without_a_secret_nothing_is_signed_or_read() -> None:
    with pytest.raises(Problem, match="cannot sign"):
        Signer([]).sign("product", ALLOWED, SOON)
    with pytest.raises(Problem, match="not one of ours"):
        Signer([]).read("product", Signer([""]).sign("product", ALLOWED, SOON))
