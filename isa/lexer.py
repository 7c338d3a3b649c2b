"""Tokens of assembler text, and errors that point at one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isa.errors import UserError

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
      | (?P<comment>\#.*)
      | (?P<name>[A-Za-z_.$][\w.$]*)
      | (?P<number>0[xX][0-9A-Fa-f_]+ | \d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?)
      | (?P<sign>[(),:+*-])""",
    re.VERBOSE | re.ASCII,
)


class AsmError(UserError):
    """A mistake in assembler text: says file, line and column and shows the place."""

    def __init__(self, reason: str, filename: str, line: int, column: int, source: str) -> None:
        self.reason = reason
        self.filename = filename
        self.line = line
        self.column = column
        # Tabs stay in the margin, so that the caret stands under its token.
        margin = "".join("\t" if c == "\t" else " " for c in source[: column - 1])
        super().__init__(f"{filename}:{line}:{column}: {reason}\n  {source}\n  {margin}^")


@dataclass(frozen=True)
class Token:
    """A token of kind `name`, `number`, `sign` or `end`; the column counts from 1."""

    kind: str
    text: str
    column: int


class Line:
    """The tokens of one source line, read from left to right."""

    def __init__(self, filename: str, number: int, source: str) -> None:
        self.filename = filename
        self.number = number
        self.source = source
        self.tokens: list[Token] = []
        self.position = 0
        at = 0
        while at < len(source):
            match = _TOKEN.match(source, at)
            if match is None:
                raise self.error(f"unexpected character {source[at]!r}", at + 1)
            if match.lastgroup not in ("space", "comment"):
                self.tokens.append(Token(str(match.lastgroup), match.group(), at + 1))
            at = match.end()
        code_length = len(source.split("#")[0].rstrip())
        self.end = Token("end", "end of line", code_length + 1)

    def error(self, reason: str, place: Token | int | None = None) -> AsmError:
        """Return an error at a token or column; at the next token where none is given."""
        column = place if isinstance(place, int) else (place or self.peek()).column
        return AsmError(reason, self.filename, self.number, column, self.source)

    def peek(self, ahead: int = 0) -> Token:
        """Return a coming token without taking it; the `end` token after the last."""
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else self.end

    def take(self) -> Token:
        """Return the next token and move on."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, text: str) -> bool:
        """Take the next token if it is `text`."""
        if self.peek().text != text or self.peek().kind == "end":
            return False
        self.position += 1
        return True

    def expect(self, text: str, where: str) -> None:
        """Take `text`, or raise an error that says where it belongs."""
        if not self.accept(text):
            raise self.error(f"expected {text!r} {where}, not {self.shown()}")

    def expect_name(self, what: str) -> Token:
        """Take a name, or raise an error that says what it should name."""
        if self.peek().kind != "name":
            raise self.error(f"expected {what}, not {self.shown()}")
        return self.take()

    def expect_end(self) -> None:
        """Raise an error if anything is left on the line."""
        if self.peek().kind != "end":
            raise self.error(f"unexpected {self.shown()} after the end of the statement")

    def shown(self) -> str:
        """Return the next token as an error message shows it."""
        token = self.peek()
        return "the end of the line" if token.kind == "end" else repr(token.text)

    def rest(self) -> tuple[str, Token]:
        """Take all that is left as plain text without its comment."""
        first = self.peek()
        self.position = len(self.tokens)
        return self.source[first.column - 1 : self.end.column - 1], first
