"""Where in a TOML file each key stands, so that a message can name its line.

`tomllib` reads values and forgets lines. This walks the same text, which `tomllib` has
accepted, and keeps the line of every key and of every element of an array.
"""

import re


# A key path: names of keys, and places in arrays from 0.
Path = tuple[str | int, ...]

TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n"
    r"|[\[\]{}=,]"
    r"|[^\s\[\]{}=,\"'\#]+",
    re.DOTALL,
)


def lines(text: str) -> dict[Path, int]:
    """Line, from 1, of every key path of a TOML text that is valid."""
    return _Walk(text).found


def line_of(found: dict[Path, int], path: Path) -> int | None:
    """Line of a key path, or of the nearest thing that holds it."""
    for length in range(len(path), 0, -1):
        if path[:length] in found:
            return found[path[:length]]
    return None


def shown(path: Path) -> str:
    """A key path as a person writes it: `arms.medium.with_dose[0].product`."""
    told = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return told.removeprefix(".")


class _Walk:
    """One pass over the tokens."""

    def __init__(self, text: str):
        self.found: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        self._tokens: list[tuple[str, int]] = []
        line = 1
        for match in TOKEN.finditer(text):
            token = match.group()
            if not token.startswith("#"):
                self._tokens.append((token, line))
            line += token.count("\n")
        self._at = 0
        self._statements()

    def _statements(self) -> None:
        table: Path = ()
        while self._at < len(self._tokens):
            token, line = self._tokens[self._at]
            if token == "\n":
                self._at += 1
            elif token == "[":
                table = self._header(line)
            else:
                self._pair(table)

    def _header(self, line: int) -> Path:
        """`[a.b]`, or `[[a.b]]`, which begins another element of an array."""
        opened = 0
        while self._tokens[self._at][0] == "[":
            opened += 1
            self._at += 1
        names = self._names("]")
        self._at += opened
        path: Path = ()
        for place, name in enumerate(names):
            path = (*path, name)
            last = place == len(names) - 1
            self.found.setdefault(path, line)
            if last and opened == 2:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
        self.found[path] = line
        return path

    def _names(self, end: str) -> list[str]:
        """The parts of a dotted key, until the token that ends it."""
        names = []
        while (token := self._tokens[self._at][0]) != end:
            quoted = token[0] in "\"'"
            names += [token[1:-1]] if quoted else [p for p in token.split(".") if p]
            self._at += 1
        return names

    def _pair(self, table: Path) -> None:
        line = self._tokens[self._at][1]
        path = table
        for name in self._names("="):
            path = (*path, name)
            self.found.setdefault(path, line)
        self._at += 1
        self._value(path)

    def _value(self, path: Path) -> None:
        token, line = self._tokens[self._at]
        self.found.setdefault(path, line)
        self._at += 1
        if token == "{":
            self._until("}", lambda _: self._pair(path))
        elif token == "[":
            self._until("]", lambda n: self._value((*path, n)))
        else:
            # A date and a time of day are two tokens.
            while self._at < len(self._tokens) and (
                self._tokens[self._at][0] not in ("\n", ",", "]", "}")
            ):
                self._at += 1

    def _until(self, end: str, each) -> None:
        count = 0
        while (token := self._tokens[self._at][0]) != end:
            if token in ("\n", ","):
                self._at += 1
            else:
                each(count)
                count += 1
        self._at += 1
