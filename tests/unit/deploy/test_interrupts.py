"""An interrupt stops a command at once, except where it must not."""

import os
import signal

import pytest

from deploy.local.interrupts import SIGNALS, Interrupted, Interrupts


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_becomes_one_exception(number: signal.Signals) -> None:
    with Interrupts(), pytest.raises(Interrupted) as raised:
        os.kill(os.getpid(), number)
    assert raised.value.number == number


def test_a_held_interrupt_comes_after_the_block() -> None:
    reached = False

    def work(interrupts: Interrupts) -> None:
        nonlocal reached
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGINT)
            reached = True

    with Interrupts() as interrupts, pytest.raises(Interrupted):
        work(interrupts)
    assert reached


def test_holds_within_holds_wait_for_the_outermost() -> None:
    reached = False

    def work(interrupts: Interrupts) -> None:
        nonlocal reached
        with interrupts.held():
            with interrupts.held():
                os.kill(os.getpid(), signal.SIGTERM)
            reached = True

    with Interrupts() as interrupts, pytest.raises(Interrupted):
        work(interrupts)
    assert reached


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
