"""The error for a run that cannot start, with an exit code of sysexits.h."""

from __future__ import annotations

EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_ALREADY_RUNNING, EXIT_NO_PERMISSION, EXIT_CONFIG = 64, 69, 75, 77, 78


class RunRefusedError(Exception):
    """The run does not start; the text says what is wrong and what to do.

    Attributes:
        code: the exit code.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
