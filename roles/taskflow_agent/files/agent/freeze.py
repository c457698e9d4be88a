"""Write the agent's modules as a C table of frozen byte code: freeze.py SOURCE_DIR OUT.h

Run it with the very Python whose library is linked: byte code and marshal format must match.
"""

import encodings
import marshal
import pathlib
import sys

PACKAGE = "taskflow_agent"
CODECS = ("__init__", "aliases", "utf_8")  # what the interpreter needs to start


def collect(source: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the file of each module by its name. A package's file is its __init__.py."""
    codec_dir = pathlib.Path(encodings.__file__).parent
    files = [("encodings", codec_dir / f"{stem}.py") for stem in CODECS]
    files += [(PACKAGE, path) for path in sorted((source / PACKAGE).glob("*.py")) if path.stem != "__main__"]
    return {package if path.stem == "__init__" else f"{package}.{path.stem}": path for package, path in files}


def render(name: str, path: pathlib.Path) -> tuple[str, str]:
    """Return the C array of one module, and its row in the table."""
    code = compile(path.read_bytes(), f"<frozen {name}>", "exec", dont_inherit=True, optimize=2)
    data = marshal.dumps(code)
    symbol = "frozen_" + name.replace(".", "_")
    array = f"static const unsigned char {symbol}[] = {{{','.join(map(str, data))}}};"
    package = int(path.stem == "__init__")
    row = f'    {{.name = "{name}", .code = {symbol}, .size = sizeof {symbol}, .is_package = {package}}},'
    return array, row


def main() -> None:
    modules = [render(name, path) for name, path in collect(pathlib.Path(sys.argv[1])).items()]
    arrays = [array for array, _row in modules]
    rows = [row for _array, row in modules]
    table = ["static const struct _frozen agent_modules[] = {", *rows, "    {0}", "};"]
    pathlib.Path(sys.argv[2]).write_text("\n".join([*arrays, *table]) + "\n")


if __name__ == "__main__":
    main()
