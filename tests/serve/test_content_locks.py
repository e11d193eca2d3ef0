"""Locks on contents: one holder at a time, and none that outlives its process."""

import subprocess
import sys
import threading
from pathlib import Path

from polarlight.serve.content_locks import held

FOX, SAME_SHELF, WOLF = (start * 32 for start in ("ab", "abcd", "cd"))


def test_the_second_waits_until_the_first_lets_go(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with held(tmp_path, [SAME_SHELF]):
            order.append("second")

    with held(tmp_path, [FOX]):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_other_bytes_wait_for_nobody(tmp_path: Path) -> None:
    with held(tmp_path, [FOX, SAME_SHELF]):
        other = threading.Thread(target=lambda: held(tmp_path, [WOLF]).__enter__(), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()


def test_many_that_want_several_in_any_order_all_get_them(tmp_path: Path) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with held(tmp_path, [FOX, WOLF][:: 1 if number % 2 else -1]):
                pass
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == [0, 1, 2, 3]


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from polarlight.serve.content_locks import held\n"
        "with held(Path(sys.argv[1]), [sys.argv[2]]): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), FOX], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    got = threading.Event()

    def take() -> None:
        with held(tmp_path, [FOX]):
            got.set()

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    assert not got.wait(0.1)
    holder.kill()
    holder.communicate()
    assert got.wait(10)
