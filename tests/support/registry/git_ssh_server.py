"""A server of Git repositories over SSH."""

from __future__ import annotations

import asyncio
import shlex
import threading
from pathlib import Path

import asyncssh


class GitSshServer:
    """Serves the repositories below a directory to whoever has ``client_key``.

    ``client_key`` is a private key, ``known_hosts`` the server's line in a file of that name; both as OpenSSH has them.
    """

    def __init__(self, root: Path, address: str = "127.0.0.1") -> None:
        self._root, self._address = root, address
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = key.export_private_key().decode()
        self._authorized = asyncssh.import_authorized_keys(key.export_public_key().decode())

    def __enter__(self) -> GitSshServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(timeout=30)
        port = self._server.get_port()
        self.url = f"ssh://git@{self._address}:{port}"
        self.known_hosts = f"[{self._address}]:{port} {self._host_key.export_public_key().decode()}"
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            asyncssh.SSHServer,
            self._address,
            0,
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            process_factory=self._serve,
            encoding=None,
        )

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Do what git asks for on the other side: git-upload-pack '/the/repository'."""
        program, path = shlex.split(process.command or "")
        assert program == "git-upload-pack"
        pipe = asyncio.subprocess.PIPE
        repository = str(self._root / path.lstrip("/"))
        git = await asyncio.create_subprocess_exec(
            "git", "upload-pack", repository, stdin=pipe, stdout=pipe, stderr=pipe
        )
        await process.redirect(git.stdin, git.stdout, git.stderr)
        process.exit(await git.wait())
        await process.wait_closed()
