import os
import signal
import threading

import pytest

from maskrcnn_benchmark.utils import interrupt as interrupt_module
from maskrcnn_benchmark.utils.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_a_later_one_stops(number, monkeypatch):
    monkeypatch.setattr(interrupt_module, "_ONE_WISH_S", 0)
    before = signal.getsignal(number)
    with Interrupt("finishing this") as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_the_same_wish_passed_on_by_a_launcher_does_not_count_twice():
    with Interrupt("finishing this") as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested


def test_the_place_to_stop_is_chosen_by_the_work(capfd):
    with Interrupt("finishing this picture") as interrupt:
        interrupt.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="2 are kept"):
            interrupt.check("2 are kept")
    assert capfd.readouterr().err.strip() == (
        "SIGINT: finishing this picture; once more to stop at once."
    )


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)

    def fail():
        with Interrupt("finishing this"):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_forked_workers_are_not_concerned():
    with Interrupt("finishing this") as interrupt:
        interrupt._owner = os.getpid() + 1  # What a forked child sees.
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupt.requested


def test_in_other_threads_it_does_nothing():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupt("finishing this") as interrupt:
            found.append((signal.getsignal(signal.SIGINT), interrupt.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]
