"""Reads and writes JSON objects of strings and whole numbers, without the imports that json costs."""

_SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = {ord(character): f"\\{letter}" for letter, character in _SHORT_ESCAPES.items() if letter != "/"}
for _control in range(0x20):
    _ESCAPED.setdefault(_control, f"\\u{_control:04x}")
_SPACE = " \t\r\n"

Fields = dict[str, str | int]


def dumps(fields: Fields) -> bytes:
    """Return an object as one line of JSON. Lone surrogates, which can't be encoded, become question marks."""
    pairs = (f"{_quoted(name)}:{_encoded(value)}" for name, value in fields.items())
    return ("{" + ",".join(pairs) + "}").encode("utf-8", "replace")


def _encoded(value: str | int) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPED)}"'


def loads(content: bytes) -> Fields:
    """Return the object in a text.

    Raises:
        ValueError: the text is not a JSON object of strings and whole numbers.
    """
    reader = _Reader(content.decode("utf-8"))
    try:
        return reader.read_object()
    except IndexError:
        raise ValueError("the text ends too early") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read_object(self) -> Fields:
        fields: Fields = {}
        self._take("{")
        if self._next() == "}":
            self._take("}")
        else:
            while True:
                name = self._read_string()
                self._take(":")
                fields[name] = self._read_string() if self._next() == '"' else self._read_number()
                if self._next() == "}":
                    break
                self._take(",")
            self._take("}")
        if self._text[self._at :].strip(_SPACE):
            raise ValueError("something follows the object")
        return fields

    def _next(self) -> str:
        while self._text[self._at] in _SPACE:
            self._at += 1
        return self._text[self._at]

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise ValueError(f"{character} expected at {self._at}")
        self._at += 1

    def _read_string(self) -> str:
        self._take('"')
        pieces = []
        while (character := self._text[self._at]) != '"':
            if character == "\\":
                character = self._read_escape()
            pieces.append(character)
            self._at += 1
        self._at += 1
        return "".join(pieces)

    def _read_escape(self) -> str:
        """Return an escaped character. The position is then at the last character of the escape."""
        self._at += 1
        letter = self._text[self._at]
        if letter == "u":
            digits = self._text[self._at + 1 : self._at + 5]
            self._at += 4
            return chr(int(digits, 16))
        if letter not in _SHORT_ESCAPES:
            raise ValueError(f"unknown escape at {self._at}")
        return _SHORT_ESCAPES[letter]

    def _read_number(self) -> int:
        start = self._at
        while self._text[self._at] not in _SPACE + ",}":
            self._at += 1
        return int(self._text[start : self._at])
