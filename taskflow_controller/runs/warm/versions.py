"""The versions of ansible-core and ansible-runner whose private parts are known."""

from importlib.metadata import PackageNotFoundError, version

KNOWN = {"ansible-core": ("2.19",), "ansible-runner": ("2.4",)}


def unknown_version() -> str | None:
    """Return which packages are installed in a version that warm runs don't support, or None if there are none."""
    problems = []
    for package, known in KNOWN.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            problems.append(f"{package} is not installed")
            continue
        if ".".join(installed.split(".")[:2]) not in known:
            problems.append(f"{package} {installed} is not one of {', '.join(f'{series}.*' for series in known)}")
    return "; ".join(problems) or None
