"""Takes signals one by one from a queue, so that they interrupt nothing and none is lost.

All signals that concern the agent are blocked from the start, and fetched with sigtimedwait. File notifications arrive
in the same way, as SIGIO, and so does the end of a child, as SIGCHLD.
"""

from .system import inherited_signal_mask, signal

_FAULTS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGSYS,
}
_NOT_BLOCKABLE = {signal.SIGKILL, signal.SIGSTOP, 32, 33}  # 32 and 33 belong to the C library
# SIGPIPE and the terminal's stop signals are blocked (an error of write() says the same) but not passed on.
_OWN = {signal.SIGCHLD, signal.SIGIO, signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU}
_HARMLESS_BY_DEFAULT = {signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGTSTP}

BLOCKED = frozenset(range(1, signal.NSIG)) - _FAULTS - _NOT_BLOCKABLE
FORWARDED = BLOCKED - _OWN
ENDING = FORWARDED - _HARMLESS_BY_DEFAULT
"""The signals that end a process which does not handle them. They end the agent while it waits."""

_AWAITED = FORWARDED | {signal.SIGCHLD, signal.SIGIO}


class Dispositions:
    """Takes the signals over, and gives the command the signal state that it would have without the agent."""

    def __init__(self) -> None:
        blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        inherited = inherited_signal_mask()
        self._mask = blocked_before if inherited is None else inherited
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were ignored, the exit code would be lost

    def restore_in_child(self) -> None:
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # what Python itself sets, from source
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def next_signal(timeout: float) -> int | None:
    """Wait up to `timeout` seconds for a signal, and return it, or None if the time is up."""
    info = signal.sigtimedwait(_AWAITED, timeout)
    return None if info is None else info.si_signo
