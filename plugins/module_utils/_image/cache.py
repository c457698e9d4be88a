# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What look-ups of images leave for later ones: small files that all processes of the operator share.

Every file is written whole under another name and then renamed, so that no reader sees half of it. One that is not
there, can't be read or makes no sense is as good as none, and a folder that can't be written to is as good as no
folder: the look-up then asks the registry, as it would without a cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import threading
import time
import typing as t
from pathlib import Path

from .name import ImageConfig

# How many files a folder keeps; the oldest go first.
MAX_FILES = 1000
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# Seconds for which an endpoint that answered counts as one that answers.
LATELY = 300.0
# Seconds for which one that did not is left alone: first so many, then twice as many each time, up to the last.
FIRST_REST, LAST_REST = 10.0, 60.0


def is_digest(reference: str) -> bool:
    """Tell whether an image's reference is a digest of the kind that is kept."""
    return DIGEST.fullmatch(reference) is not None


class ImageCache:
    """What images run, by the digest of their manifest (or index) and the architecture.

    Content never changes under its digest, so nothing here gets old. Callers store only what they have checked
    against the digest: what one registry says must not decide what another one's image runs.
    """

    def __init__(self, cache_dir: str | None, max_files: int = MAX_FILES) -> None:
        self._folder = Path(cache_dir) / "images" if cache_dir else None
        self._max_files = max_files

    def get(self, digest: str, architecture: str) -> ImageConfig | None:
        """Return what the image runs; None where that is not known."""
        if self._folder is None or not is_digest(digest):
            return None
        content = _read(self._folder / _file_name(digest, architecture))
        entrypoint, cmd = _words(content.get("entrypoint")), _words(content.get("cmd"))
        if entrypoint is None or cmd is None or content.get("digest") != digest:
            return None
        return ImageConfig(entrypoint, cmd)

    def put(self, digest: str, architecture: str, config: ImageConfig) -> None:
        """Keep what the image runs."""
        if self._folder is None or not is_digest(digest):
            return
        content = {"digest": digest, "entrypoint": list(config.entrypoint), "cmd": list(config.cmd)}
        _write(self._folder / _file_name(digest, architecture), content)
        _prune(self._folder, self._max_files)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why an endpoint is not asked now: ``words`` for people, and in how many seconds it makes sense again.

    ``pending`` says that another process is asking it right now.
    """

    words: str
    seconds: float
    pending: bool = False


class Endpoints:
    """Which registries' endpoints answer, so that one that does not costs no Task more than a moment.

    An endpoint that did not answer in time rests: nobody asks it for a while. One of which nothing is known lately is
    asked by one process alone, which holds a lock on it (the kernel drops it should the process end); the others
    don't wait. All threads of this process share its lock.

    Args:
        cache_dir: where to keep it; None keeps nothing, and every endpoint may be asked.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self, cache_dir: str | None, now: t.Callable[[], float] = time.time, max_files: int = 2 * MAX_FILES
    ) -> None:
        self._folder = Path(cache_dir) / "endpoints" if cache_dir else None
        self._now = now
        self._max_files = max_files
        self._mutex = threading.Lock()
        self._locks: dict[str, int] = {}

    def resting(self, url: str) -> Refusal | None:
        """Return why the endpoint is left alone after it did not answer; None when it may be asked."""
        state = self._state(url)
        left = _number(state, "until") - self._now()
        # More than that is another clock's time.
        if not 0 < left <= LAST_REST:
            return None
        seconds = round(left) or 1
        return Refusal(f"{state.get('said')} (it is asked again in {seconds} s)", float(seconds))

    def answers(self, url: str) -> bool:
        """Tell whether the endpoint has answered lately."""
        return self._answered_within(url, LATELY)

    def admit(self, url: str) -> Refusal | None:
        """Return None when this process may ask the endpoint, else why not.

        Whoever is let in says answered() or timed_out() in the end, or close().
        """
        with self._mutex:
            if self._folder is None or url in self._locks:
                return None
            refusal = self.resting(url)
            if refusal or self.answers(url):
                return refusal
            try:
                lock = _lock(self._path(url, ".lock"))
            except BlockingIOError:
                return Refusal("it is being asked by another Task's look-up", 2.0, pending=True)
            except OSError:
                return None
            self._locks[url] = lock
            return None

    def answered(self, url: str) -> None:
        """Note that the endpoint answered, whatever it said."""
        if self._folder is not None and not self._answered_within(url, LATELY / 2):
            self._note(url, {"answered": self._now()})
        self._unlock(url)

    def timed_out(self, url: str, said: str) -> None:
        """Note that the endpoint did not answer in time, in the words ``said``: it rests, longer each time."""
        if self._folder is not None:
            rest = min(max(FIRST_REST, 2 * _number(self._state(url), "rest")), LAST_REST)
            self._note(url, {"until": self._now() + rest, "rest": rest, "said": said})
        self._unlock(url)

    def close(self) -> None:
        """Let go of every lock."""
        for url in list(self._locks):
            self._unlock(url)

    def _answered_within(self, url: str, seconds: float) -> bool:
        return 0 <= self._now() - _number(self._state(url), "answered") < seconds

    def _state(self, url: str) -> dict[str, t.Any]:
        return {} if self._folder is None else _read(self._path(url, ".json"))

    def _note(self, url: str, state: dict[str, t.Any]) -> None:
        path = self._path(url, ".json")
        _write(path, {"url": url, **state})
        _prune(path.parent, self._max_files)

    def _unlock(self, url: str) -> None:
        with self._mutex:
            lock = self._locks.pop(url, None)
        if lock is not None:
            os.close(lock)

    def _path(self, url: str, suffix: str) -> Path:
        if self._folder is None:
            raise RuntimeError("nothing is kept without a directory")
        return self._folder / (hashlib.sha256(url.encode()).hexdigest()[:32] + suffix)


def _file_name(digest: str, architecture: str) -> str:
    return f"{digest.partition(':')[2]}-{re.sub('[^a-z0-9]', '_', architecture)}.json"


def _lock(path: Path) -> int:
    """Open a lock file and lock it.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it can't be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _read(path: Path) -> dict[str, t.Any]:
    """Return a file's JSON object; an empty one where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, t.Any]) -> None:
    """Write a JSON object; what can't be written is let go."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(content))
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()


def _prune(folder: Path, max_files: int) -> None:
    """Remove the oldest files where there are too many, and some more, so that it isn't done each time."""
    try:
        with os.scandir(folder) as entries:
            ages = [(entry.stat().st_mtime, entry.path) for entry in entries]
    except OSError:
        return
    if len(ages) > max_files:
        for _age, path in sorted(ages)[: len(ages) - max_files * 9 // 10]:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _words(value: t.Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def _number(state: t.Mapping[str, t.Any], key: str) -> float:
    value = state.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
