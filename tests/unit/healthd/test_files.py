"""The page's files: the page comes with its verdicts, its style is allowed, and its worker keeps all of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from healthd.page import files

TODO = "Move, or <b>unplug</b> it."
REASON = {"level": "error", "part": "rtt", "title": "Round trip", "text": "", "todo": TODO, "since_ms": 1}
PICTURE: dict[str, Any] = {
    "verdicts": [
        {"id": "stream", "level": "error", "title": "Round trip 823 ms", "text": "Slow.", "reasons": [REASON]},
        {"id": "recorder", "level": "ok", "title": "All is recorded", "text": "</script>", "reasons": []},
    ]
}


def test_the_verdicts_are_there_before_a_script_is() -> None:
    """With what to do, as text; the script finds the whole picture, and nothing in it ends its element."""
    text = files.page(PICTURE).body.decode()
    assert "<h1>Round trip 823 ms</h1>" in text
    assert "Move, or &lt;b&gt;unplug&lt;/b&gt; it." in text
    (data,) = re.findall(r'<script type="application/json" id="now">(.*?)</script>', text)
    assert PICTURE == json.loads(data)


def test_the_style_within_the_page_is_the_one_that_is_allowed() -> None:
    """By its digest; nothing else inline is."""
    answer = files.page(PICTURE)
    (style,) = re.findall(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(answer.headers)["Content-Security-Policy"]
    assert f"style-src 'self' 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_worker_keeps_what_the_page_is_made_of() -> None:
    """Every file that it names is there, every module is among them, and none has numbers."""
    loaded = files.load()
    (kept,) = re.findall(r"const FILES = (\[.*?\]);", loaded["/sw.js"].body.decode())
    named = set(json.loads(kept))
    assert set() == named - loaded.keys()
    preloaded = set(re.findall(r'rel="modulepreload" href="([^"]+)"', loaded["/shell"].body.decode()))
    assert {"/shell", "/static/page.js", *preloaded} <= named
    assert b'id="now">null<' in loaded["/shell"].body
