"""One HTTP request, for tests: whatever the status is, it is an answer."""

from __future__ import annotations

from ssl import SSLContext
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def answer(request: Request | str, timeout_s: float = 10, context: SSLContext | None = None) -> tuple[int, str]:
    """Return status and text; (0, "") while nothing answers."""
    try:
        with urlopen(request, timeout=timeout_s, context=context) as found:
            return int(found.status), found.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
