"""What a test says of a refusal: the error and its whole message."""

from __future__ import annotations

import re
from typing import Any

import pytest


def refused(error: type[Exception], message: str) -> Any:
    """Expect an error whose whole message is the given one."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")
