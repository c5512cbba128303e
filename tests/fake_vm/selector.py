r"""Series selectors: tokens, their parser, and what they match.

In: text such as `cpu_load{device="x", core=~"0|1"}`.
Out: a `Selector`, a predicate on labels, or a `QueryError` to answer 422 with.

Grammar:

    selector := name | [name] "{" matcher {"," matcher} [","] "}" | name "{" "}"
    matcher  := label ("=" | "!=" | "=~" | "!~") string
    string   := "..." | '...' | `...`

Regular expressions match the whole value. A label that is absent has the value "".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fake_vm.store import NAME

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*`)
      | (?P<duration>(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:.]*)
      | (?P<symbol>=~|!~|!=|[=(){}\[\],])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class QueryError(ValueError):
    """The text is not of the supported grammar."""


@dataclass(frozen=True)
class Token:
    """A kind (string, duration, name, symbol, end) and its text."""

    kind: str
    text: str


class Tokens:
    """The tokens of one query, read from left to right."""

    def __init__(self, text: str) -> None:
        """Split the whole text at once.

        Raises:
            QueryError: A character belongs to no token.
        """
        self._tokens: list[Token] = []
        at = 0
        end = len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise QueryError(f"unexpected text {text[at:]!r}")
            self._tokens.append(Token(str(match.lastgroup), match[0].strip()))
            at = match.end()
        self._tokens.append(Token("end", ""))

    def peek(self, ahead: int = 0) -> Token:
        """Look at a token without taking it."""
        return self._tokens[min(ahead, len(self._tokens) - 1)]

    def take(self, kind: str) -> str:
        """Take the next token, which must be of this kind."""
        token = self.peek()
        if token.kind != kind:
            raise QueryError(f"unexpected {token.text or token.kind!r}; want a {kind}")
        return self._tokens.pop(0).text

    def accept(self, *texts: str) -> str:
        """Take the next token if it is one of these texts, else return ""."""
        token = self.peek()
        if token.kind in {"symbol", "name"} and token.text in texts:
            return self._tokens.pop(0).text
        return ""

    def expect(self, *texts: str) -> str:
        """Take the next token, which must be one of these texts."""
        token = self.peek()
        found = self.accept(*texts)
        if not found:
            wanted = " or ".join(repr(text) for text in texts)
            raise QueryError(f"unexpected {token.text or token.kind!r}; want {wanted}")
        return found


@dataclass(frozen=True)
class Matcher:
    """One condition on one label."""

    label: str
    pattern: re.Pattern[str]
    negated: bool

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether the label, "" when absent, satisfies the condition."""
        found = self.pattern.fullmatch(labels.get(self.label, "")) is not None
        return found != self.negated


@dataclass(frozen=True)
class Selector:
    """All its matchers must hold."""

    matchers: tuple[Matcher, ...]

    def matches(self, labels: dict[str, str]) -> bool:
        """Tell whether a series with these labels is selected."""
        return all(matcher.matches(labels) for matcher in self.matchers)


def parse_selector(text: str) -> Selector:
    """Parse a text that is one selector and nothing else.

    Raises:
        QueryError: It is not.
    """
    tokens = Tokens(text)
    selector = read_selector(tokens)
    tokens.take("end")
    return selector


def read_selector(tokens: Tokens) -> Selector:
    """Take one selector off the tokens."""
    matchers: list[Matcher] = []
    if tokens.peek().kind == "name":
        matchers.append(_matcher(NAME, "=", tokens.take("name")))
    if not matchers or tokens.peek().text == "{":
        tokens.expect("{")
        while not tokens.accept("}"):
            label = tokens.take("name")
            operator = tokens.expect("=", "!=", "=~", "!~")
            matchers.append(_matcher(label, operator, _unquote(tokens.take("string"))))
            if tokens.peek().text != "}":
                tokens.expect(",")
    if not matchers:
        raise QueryError("labelFilters cannot be empty")
    return Selector(tuple(matchers))


def _matcher(label: str, operator: str, value: str) -> Matcher:
    try:
        pattern = re.compile(value if operator[-1] == "~" else re.escape(value))
    except re.error as error:
        raise QueryError(f"cannot parse regexp {value!r}: {error}") from error
    return Matcher(label, pattern, negated=operator[0] == "!")


def _unquote(quoted: str) -> str:
    if quoted[0] == "`":
        return quoted[1:-1]
    # An escape that is none stays as it is: "\d" is the usual slip in a regexp.
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[0]), quoted[1:-1])
