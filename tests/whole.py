"""How many cases of a kind are run: a few by `make test`, all with WHOLE=1, as `make chaos` has it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def cases(few: Sequence[Case], rest: Sequence[Case]) -> list[Case]:
    """Return a few cases, or with WHOLE=1 the rest too, in their order."""
    return [*few, *rest] if os.environ.get("WHOLE") else [*few]
