"""Expect a refusal: the type of the error, and the names and numbers in its message."""

from __future__ import annotations

import re
from typing import Any

import pytest

# Words in quotes, names with an index, an underscore or a value, and numbers.
_TOKENS = re.compile(r"'[^'\s]*'|\b\w+(?:\[\d+\])+|\b\w+=|\b\w+_\w+\b|\d+(?:\.\d+)?")


def refused(error: type[Exception], message: str) -> Any:
    """Expect an error whose message has the names and numbers of the given one, in this order.

    Its prose is not compared, so that a sentence can be improved without touching a test; only its first long word is,
    which is the name of the parameter in most messages.
    """
    first = re.search(r"\w{4,}", message)
    tokens = [*([first[0]] if first else []), *_TOKENS.findall(message[first.end() if first else 0 :])]
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, tokens)))
