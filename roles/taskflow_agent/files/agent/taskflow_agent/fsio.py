"""Reads and writes small files, so that a reader never sees an incomplete one."""

from .system import Ignored, posix

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable

COPY_CHUNK = 1 << 26


def directory_of(path: str) -> str:
    head, slash, _name = path.rpartition("/")
    return head or ("/" if slash else ".")


def exists(path: str) -> bool:
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    return True


def lies_at(path: str) -> bool:
    """Return whether there is anything under this name, be it a link that leads nowhere."""
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def read_if_exists(path: str, limit: int = 1 << 16) -> bytes | None:
    """Return the first `limit` bytes of a file, or None if it does not exist. Never waits, even if it is a pipe.

    Raises:
        OSError: the file can't be read.
    """
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return read_and_close(descriptor, limit)


def read_whole(path: str) -> bytes:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    return read_and_close(descriptor, posix.fstat(descriptor).st_size + 1)


def read_and_close(descriptor: int, limit: int) -> bytes:
    content = b""
    try:
        while len(content) < limit:
            piece = posix.read(descriptor, limit - len(content))
            if not piece:
                break
            content += piece
    finally:
        posix.close(descriptor)
    return content


def write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[posix.write(descriptor, rest) :]


def write_renamed(path: str, content: bytes, mode: int = 0o644) -> None:
    """Create or replace a file. It appears under its name only when it is complete."""
    _fill_and_rename(path, mode, lambda descriptor: write_all(descriptor, content))


def copy_renamed(source: str, path: str, mode: int) -> None:
    """Create or replace a file with the content of another one, like `write_renamed`."""
    _fill_and_rename(path, mode, lambda descriptor: _copy_content(source, descriptor))


def _fill_and_rename(path: str, mode: int, fill: "Callable[[int], None]") -> None:
    descriptor, temporary = _open_temporary(path, mode)
    try:
        try:
            fill(descriptor)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, path)
    except OSError:
        _remove(temporary)
        raise


def write_fresh(path: str, content: bytes, mode: int) -> None:
    """Create a file that nobody reads before it is complete, in place of any that was left there."""
    _remove(path)
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, mode)
    try:
        posix.fchmod(descriptor, mode)
        write_all(descriptor, content)
    finally:
        posix.close(descriptor)


def create_once(path: str) -> bool:
    """Create an empty file that outlives a crash of the node; return False if it exists already.

    Syncing the directory makes the new entry and its file last. Some file systems refuse that; they do it at once.
    """
    try:
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644))
    except FileExistsError:
        return False
    with Ignored(OSError):
        directory = posix.open(directory_of(path), posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            posix.fsync(directory)
        finally:
            posix.close(directory)
    return True


def modified(path: str) -> int:
    """Return when a file was last changed, in nanoseconds since 1970."""
    return posix.stat(path).st_mtime_ns


def overwrite(path: str, content: bytes) -> None:
    """Replace the content of a file that must exist and stay the same file (a bind mount)."""
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        posix.ftruncate(descriptor, 0)
        write_all(descriptor, content)
    finally:
        posix.close(descriptor)


def occupy_standard_descriptors() -> None:
    """Open 0, 1 and 2 if they are closed. Otherwise the next open file would become the command's output."""
    for descriptor in (0, 1, 2):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.set_inheritable(open_nothing(), True)  # it gets the lowest free number, which is the missing one


def open_nothing() -> int:
    """Return a descriptor that reads as empty: /dev/null or, without a /dev, a pipe without a writer."""
    try:
        return posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:
        reading, writing = posix.pipe()
        posix.close(writing)
        return reading


def _open_temporary(path: str, mode: int) -> tuple[int, str]:
    temporary = f"{directory_of(path)}/.{path.rpartition('/')[2]}.{posix.getpid()}"
    _remove(temporary)
    descriptor = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, mode)
    posix.fchmod(descriptor, mode)  # despite the umask, because other steps read it with other uids
    return descriptor, temporary


def _copy_content(source: str, descriptor: int) -> None:
    reading = posix.open(source, posix.O_RDONLY | posix.O_CLOEXEC)
    offset = 0
    try:
        while copied := posix.sendfile(descriptor, reading, offset, COPY_CHUNK):
            offset += copied
    finally:
        posix.close(reading)


def _remove(path: str) -> None:
    with Ignored(FileNotFoundError):
        posix.unlink(path)
