"""Who asks again is not answered what was asked before."""

from __future__ import annotations

import threading
import time

from spectral_icl.explore.latest import QUICK, QUIET, Latest


def test_questions_that_come_meanwhile_replace_one_another() -> None:
    answered: list[int] = []
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def answer(question: int) -> None:
        begun.set()
        assert go.wait(5.0)
        answered.append(question)
        if question == 9:
            done.set()

    latest = Latest(answer)
    latest.ask(0)
    assert begun.wait(5.0)
    assert not latest.is_stale
    for question in range(1, 10):
        latest.ask(question)
    assert latest.is_stale
    go.set()
    assert done.wait(5.0)
    assert answered == [0, 9]
    latest.close()


def test_after_slow_work_a_moving_hand_is_waited_for() -> None:
    answered: list[tuple[int, float]] = []
    done = threading.Event()

    def answer(question: int) -> None:
        answered.append((question, time.perf_counter()))
        if question == 0:
            time.sleep(QUICK * 1.5)
        if question == 5:
            done.set()

    latest = Latest(answer)
    latest.ask(0)
    time.sleep(QUICK * 2.0)
    for question in range(1, 6):
        latest.ask(question)
    last = time.perf_counter()
    assert done.wait(5.0)
    assert [question for question, _ in answered] == [0, 5]
    assert answered[-1][1] - last > 0.9 * QUIET
    latest.close()


def test_a_closed_one_answers_no_more() -> None:
    answered: list[int] = []
    latest = Latest(answered.append)
    latest.close()
    latest.ask(1)
    time.sleep(0.05)
    assert answered == []
