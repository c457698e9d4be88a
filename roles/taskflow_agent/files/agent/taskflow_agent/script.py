"""Unpacks a script, which is gzip and base64 text in a file, into the step's own directory."""

import binascii
import zlib

from .fsio import read_whole, write_fresh
from .outcome import StepError
from .system import strerror

GZIP_FORMAT = 31
OWN_USER_ONLY = 0o500


def unpack(encodefile: str, script_dir: str, arguments: list[str]) -> list[str]:
    """Write the script, and return the command line that runs it.

    Raises:
        StepError: ScriptError, the file can't be read or is malformed, or the script can't be written.
    """
    path = f"{script_dir}/script"
    try:
        body = decode(read_whole(encodefile))
        write_fresh(path, body, OWN_USER_ONLY)
    except OSError as error:
        raise StepError("ScriptError", f"cannot unpack {encodefile} to {path}: {strerror(error)}") from None
    except (ValueError, zlib.error) as error:
        raise StepError("ScriptError", f"{encodefile} is not a script in gzip and base64: {error}") from None
    if body.startswith(b"#!"):
        return [path, *arguments]
    return ["sh", path, *arguments]


def decode(text: bytes) -> bytes:
    return zlib.decompress(binascii.a2b_base64(text), GZIP_FORMAT)
