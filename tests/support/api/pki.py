"""The certificates of a control plane on loopback: those of its CA, its API server and its admin."""

from __future__ import annotations

from pathlib import Path

import trustme
import yaml


class Pki:
    """Makes, in a folder: ca.crt, apiserver.crt and .key, admin.crt and .key, service-account.key."""

    def __init__(self, folder: Path, addresses: tuple[str, ...]) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.crt")
        self._write("apiserver", authority.issue_cert(*addresses))
        # The API server takes the name for the user's, and the organization for the group. Go refuses the empty list of
        # addresses that there would be without one.
        admin = authority.issue_cert("admin.test", common_name="admin", organization_name="system:masters")
        self._write("admin", admin)
        authority.issue_cert("service-account.test").private_key_pem.write_to_path(folder / "service-account.key")

    def write_kubeconfig(self, path: Path, url: str) -> None:
        """Write a kubeconfig of the admin. It names files, which the client library need not write itself then."""
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [
                        {"name": "test", "cluster": {"server": url, "certificate-authority": f"{self._folder}/ca.crt"}}
                    ],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "users": [
                        {
                            "name": "admin",
                            "user": {
                                "client-certificate": f"{self._folder}/admin.crt",
                                "client-key": f"{self._folder}/admin.key",
                            },
                        }
                    ],
                }
            )
        )

    def _write(self, name: str, made: trustme.LeafCert) -> None:
        made.private_key_pem.write_to_path(self._folder / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(self._folder / f"{name}.crt")
