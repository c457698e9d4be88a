"""What look-ups leave for later ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import (
    LAST_REST,
    LATELY,
    Endpoints,
    ImageCache,
    is_digest,
)
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig

DIGEST = "sha256:" + "0123456789abcdef" * 4
CONFIG = ImageConfig(("/e", "ü"), ("c",))
URL = "https://r.example:5000"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def unwritable(tmp_path: Path) -> str:
    """Return a place below which nothing can be made, by root neither."""
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "cache")


def test_what_was_put_is_found_by_digest_and_architecture(tmp_path):
    cache = ImageCache(str(tmp_path / "not" / "there" / "yet"))
    assert cache.get(DIGEST, "amd64") is None
    cache.put(DIGEST, "amd64", CONFIG)
    cache.put(DIGEST, "arm64", ImageConfig())
    assert ImageCache(str(tmp_path / "not" / "there" / "yet")).get(DIGEST, "amd64") == CONFIG
    assert cache.get(DIGEST, "arm64") == ImageConfig()
    assert cache.get(digest(1), "amd64") is None


def test_others_can_not_read_it(tmp_path):
    ImageCache(str(tmp_path)).put(DIGEST, "amd64", CONFIG)
    assert (tmp_path / "images").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("reference", ["latest", "sha256:12", "sha512:" + "0" * 128, DIGEST.upper(), "../" + DIGEST])
def test_only_digests_are_kept(tmp_path, reference):
    ImageCache(str(tmp_path)).put(reference, "amd64", CONFIG)
    assert not is_digest(reference)
    assert list(tmp_path.iterdir()) == []
    assert ImageCache(str(tmp_path)).get(reference, "amd64") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        json.dumps({"digest": DIGEST, "entrypoint": "/e", "cmd": []}).encode(),
        json.dumps({"digest": DIGEST, "entrypoint": [1], "cmd": []}).encode(),
        json.dumps({"digest": digest(1), "entrypoint": [], "cmd": []}).encode(),
    ],
)
def test_bad_content_is_no_content(tmp_path, content):
    cache = ImageCache(str(tmp_path))
    cache.put(DIGEST, "amd64", CONFIG)
    (file,) = (tmp_path / "images").iterdir()
    file.write_bytes(content)
    assert cache.get(DIGEST, "amd64") is None
    cache.put(DIGEST, "amd64", CONFIG)
    assert cache.get(DIGEST, "amd64") == CONFIG


def test_without_a_folder_or_one_to_write_to_nothing_is_kept_and_nothing_fails(tmp_path):
    for folder in (None, "", unwritable(tmp_path)):
        cache, endpoints = ImageCache(folder), Endpoints(folder)
        cache.put(DIGEST, "amd64", CONFIG)
        assert cache.get(DIGEST, "amd64") is None
        assert endpoints.admit(URL) is None
        endpoints.timed_out(URL, "no answer")
        assert endpoints.resting(URL) is None
        assert endpoints.admit(URL) is None
        endpoints.answered(URL)
        endpoints.close()


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    cache = ImageCache(str(tmp_path), max_files=10)
    for number in range(10):
        cache.put(digest(number), "amd64", CONFIG)
        file = next((tmp_path / "images").glob(f"{number:064x}*"))
        os.utime(file, (number, number))
    cache.put(digest(10), "amd64", CONFIG)
    kept = [number for number in range(11) if cache.get(digest(number), "amd64")]
    assert kept == [2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_many_writers_leave_whole_files(tmp_path):
    """Processes and threads that write and read the same entries at once."""
    program = (
        "import sys; from ansible_collections.taskflow.operator.plugins.module_utils._image import cache as c, name\n"
        "cache = c.ImageCache(sys.argv[1], max_files=5)\n"
        "config = name.ImageConfig(('x' * 5000,), ())\n"
        "for n in range(300):\n"
        "    cache.put(f'sha256:{n % 8:064x}', 'amd64', config)\n"
        "    assert cache.get(f'sha256:{n % 7:064x}', 'amd64') in (None, config)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    names = [path.name for path in (tmp_path / "images").iterdir()]
    assert len(names) <= 8
    assert not [name for name in names if name.startswith(".")]


def test_an_endpoint_that_does_not_answer_rests_longer_each_time(tmp_path, clock):
    endpoints = Endpoints(str(tmp_path), clock)
    for rest in (10, 20, 40, 60, 60):
        assert endpoints.admit(URL) is None
        endpoints.timed_out(URL, "no answer within 5 s")
        refusal = Endpoints(str(tmp_path), clock).admit(URL)
        assert refusal == endpoints.resting(URL)
        assert refusal.words == f"no answer within 5 s (it is asked again in {rest} s)"
        assert (refusal.seconds, refusal.pending) == (rest, False)
        clock.now += rest
        assert endpoints.resting(URL) is None
    assert endpoints.admit("https://other.example") is None


def test_an_answer_ends_the_rest(tmp_path, clock):
    endpoints = Endpoints(str(tmp_path), clock)
    endpoints.timed_out(URL, "no answer")
    endpoints.timed_out(URL, "no answer")
    endpoints.answered(URL)
    assert endpoints.resting(URL) is None
    endpoints.timed_out(URL, "no answer")
    assert endpoints.resting(URL).seconds == 10


def test_a_clock_that_jumps_keeps_nobody_out(tmp_path, clock):
    endpoints = Endpoints(str(tmp_path), clock)
    endpoints.timed_out(URL, "no answer")
    clock.now -= LAST_REST * 2
    assert endpoints.resting(URL) is None


def test_only_one_process_asks_an_endpoint_that_is_not_known_to_answer(tmp_path, clock):
    first, second = Endpoints(str(tmp_path), clock), Endpoints(str(tmp_path), clock)
    assert first.admit(URL) is None
    assert first.admit(URL) is None, "all threads of a process share its lock"
    refusal = second.admit(URL)
    assert (refusal.pending, refusal.words) == (True, "it is being asked by another Task's look-up")
    assert second.admit("https://other.example") is None
    first.answered(URL)
    assert second.admit(URL) is None
    assert first.admit(URL) is None, "one that answered lately needs no lock"
    clock.now += LATELY
    assert first.admit(URL) is None
    assert second.admit(URL).pending
    first.close()
    assert second.admit(URL) is None


def test_a_process_that_ends_leaves_no_lock(tmp_path):
    program = (
        "import os, sys; from ansible_collections.taskflow.operator.plugins.module_utils._image import cache as c\n"
        "assert c.Endpoints(sys.argv[1]).admit(sys.argv[2]) is None\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path), URL], env=environment, check=False, timeout=60)
    assert len(list((tmp_path / "endpoints").glob("*.lock"))) == 1
    assert Endpoints(str(tmp_path)).admit(URL) is None


def test_threads_may_share_it(tmp_path):
    endpoints = Endpoints(str(tmp_path))
    refusals: list[object] = []

    def work(number: int) -> None:
        refusals.append(endpoints.admit(f"https://{number % 3}.example"))
        endpoints.answered(f"https://{number % 3}.example")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals == [None] * 30


def test_the_files_of_endpoints_are_bounded_too(tmp_path, clock):
    endpoints = Endpoints(str(tmp_path), clock, max_files=20)
    for number in range(50):
        endpoints.admit(f"https://{number}.example")
        endpoints.answered(f"https://{number}.example")
    assert len(list((tmp_path / "endpoints").iterdir())) <= 20
