"""What is the newest sample of this device that the server has? Asked after an outage.

One query to where the audit asks; what is newer and marked uploaded is the audit's to find. Where the server
cannot be asked (a token for writing alone, a cluster's vminsert), nothing is known and nothing waits for it.
"""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit

from common import clock
from common.remote import Remote
from common.service import Service
from shipper.http.courier import Courier
from shipper.http.transport import TransportError
from shipper.skew import base_url

TIMEOUT_S = 5.0
REACH = "1d"  # an outage that is longer leaves null; the query has to look at all of it


class Newest:
    """The question as a step of the shipper."""

    def __init__(self, process: Service, courier: Courier) -> None:
        self._process = process
        self._courier = courier
        process.facts["server_newest_ms"] = None

    def ask(self) -> None:
        """Ask once, and say in facts and log what came of it.

        Raises:
            Interrupted: the process was asked to end.
        """
        settings = self._process.config.settings
        url = query_url(settings.remote)
        if url is None:
            return
        selector = json.dumps(settings.device.id, ensure_ascii=False)
        promql = f"max(tlast_over_time({{device_id={selector}}}[{REACH}]))"
        self._courier.announce(2 * TIMEOUT_S)
        try:
            answer = self._courier.transport.get(f"{url}?query={quote(promql)}&nocache=1", TIMEOUT_S)
        except TransportError as error:
            self._process.log.info("the server's newest sample is not known", error=str(error))
            return
        finally:
            self._courier.at_rest()
        newest_ms = parse_newest(answer.body) if answer.status == 200 else None
        self._process.facts["server_newest_ms"] = newest_ms
        behind_s = None if newest_ms is None else round((clock.wall_ms() - newest_ms) / 1000, 1)
        self._process.log.info(
            "the server's newest sample", server_newest_ms=newest_ms, behind_s=behind_s, http_status=answer.status
        )


def query_url(remote: Remote) -> str | None:
    """Return where the server answers queries, None where that is not known."""
    if remote.audit.query_url:
        return remote.audit.query_url
    return None if "/insert/" in urlsplit(remote.url).path else f"{base_url(remote.url)}/api/v1/query"


def parse_newest(body: bytes) -> int | None:
    """Read an instant query's one number, seconds, as Unix milliseconds; None where there is none."""
    try:
        return round(1000 * float(json.loads(body)["data"]["result"][0]["value"][1]))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        return None
