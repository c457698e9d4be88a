"""Which iptables works on this kernel, and how to remove the chains that Kubernetes and its plugins made."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

TABLES = ("filter", "nat", "mangle")
OWN_CHAINS = ("KUBE-", "CNI-")
# One rule with every match that kube-proxy uses.
PROBE_RULE = shlex.split(
    "-m comment --comment probe -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW"
    " -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x4000/0x4000"
)


def _iptables(variant: str, *arguments: str, family: str = "ip") -> subprocess.CompletedProcess:
    command = [f"{family}tables-{variant}", "-w", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _works(variant: str) -> bool:
    if not shutil.which(f"iptables-{variant}"):
        return False
    probe = "TASKFLOW-PROBE"
    created = _iptables(variant, "-t", "nat", "-N", probe).returncode == 0
    accepted = created and _iptables(variant, "-t", "nat", "-A", probe, *PROBE_RULE).returncode == 0
    _iptables(variant, "-t", "nat", "-F", probe)
    _iptables(variant, "-t", "nat", "-X", probe)
    return accepted


def choose(directory: Path) -> bool:
    """Put links to a working iptables into `directory`, which comes first in the daemons' PATH."""
    if (directory / "iptables").exists():
        return False
    variant = next((name for name in ("nft", "legacy") if _works(name)), None)
    if not variant:
        raise SystemExit("Neither iptables-nft nor iptables-legacy works with this kernel; kube-proxy needs one.")
    directory.mkdir(parents=True, exist_ok=True)
    for family in ("ip6tables", "iptables"):
        for suffix in ("-restore", "-save", ""):
            link = directory / f"{family}{suffix}"
            link.unlink(missing_ok=True)
            os.symlink(shutil.which(f"{family}-{variant}{suffix}"), link)
    return True


def clean(directory: Path) -> None:
    """Only the chosen variant is looked at: to list the tables of the other would make them."""
    link = directory / "iptables"
    if link.is_symlink():
        variant = "legacy" if "legacy" in os.readlink(link) else "nft"
        for family in ("ip", "ip6"):
            for table in TABLES:
                _clean_table(variant, family, table)


def _clean_table(variant: str, family: str, table: str) -> None:
    rules = _iptables(variant, "-t", table, "-S", family=family).stdout.splitlines()
    chains = [rule.split()[1] for rule in rules if rule.startswith("-N") and rule.split()[1].startswith(OWN_CHAINS)]
    if not chains:
        return
    kept = {rule.split()[1] for rule in rules if rule.startswith("-A")} - set(chains)
    batch = [f"*{table}"]
    batch += [f":{chain} - [0:0]" for chain in chains]
    for rule in rules:
        words = rule.split()
        if words[0] == "-A" and words[1] in kept and any(f"-j {chain}" in rule for chain in chains):
            batch.append(rule.replace("-A", "-D", 1))
    batch += [f"-X {chain}" for chain in chains]
    batch.append("COMMIT\n")
    subprocess.run(
        [f"{family}tables-{variant}-restore", "-w", "--noflush"], input="\n".join(batch), text=True, check=True
    )
