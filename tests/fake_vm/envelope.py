"""The other contract: one JSON object with a list of metrics to `/api/v1/metrics`, as `remote.type: json` sends it.

In: a `Wire` and the core. Out: samples in the store, and an answer that says how many. Names become those of the
import, so that the same queries show them. A metric that is none of the contract refuses the whole body, 400.
"""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.fake_vm.answers import Answer, json_answer
from tests.fake_vm.core import ImportRequest
from tests.fake_vm.exchange import refuse
from tests.fake_vm.imports import Parsed, parse
from tests.fake_vm.inflate import decode

if TYPE_CHECKING:
    from tests.fake_vm.core import Core
    from tests.fake_vm.exchange import Wire

PATH = "/api/v1/metrics"


def serve_metrics(core: Core, wire: Wire) -> None:
    """Serve one request."""
    body = wire.read_body()
    answer, parsed, stored = refuse(core, wire.request_headers.get("authorization", "")), Parsed(), 0
    if answer is None:
        answer, parsed = _taken(body.data, wire.request_headers.get("content-encoding", ""))
        stored = core.commit(parsed, None) if answer.status == 200 else 0
    path = urlsplit(wire.target).path
    core.record(
        ImportRequest(
            answer.status,
            parsed.samples,
            stored,
            len(body.data),
            wire.head_bytes + body.wire_bytes,
            {},
            path,
            wire.connection_id,
            time.time(),
        )
    )
    wire.answer(answer)


def _taken(data: bytes, encoding: str) -> tuple[Answer, Parsed]:
    decoded = decode(data, encoding)
    if decoded.error is not None:
        return json_answer(400, {"success": False, "received": 0, "error": decoded.error}), Parsed()
    try:
        document = json.loads(decoded.data)
        lines = [_line(metric, document["device_id"]) for metric in document["metrics"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        return json_answer(400, {"success": False, "received": 0, "error": detail}), Parsed()
    now_ms = int(time.time() * 1000)
    parsed = parse("\n".join(lines).encode(), "", now_ms=now_ms)
    return json_answer(200, {"success": True, "received": len(lines), "checkpoint": now_ms}), parsed


def _line(metric: dict[str, Any], device_id: str) -> str:
    """Return a metric as a line of the import."""
    moment = datetime.fromisoformat(metric["timestamp"].replace("Z", "+00:00"))
    labels = {**metric["tags"], "__name__": re.sub(r"\W", "_", metric["name"]), "device_id": device_id}
    line = {"metric": labels, "values": [metric["value"]], "timestamps": [round(moment.timestamp() * 1000)]}
    return json.dumps(line)
