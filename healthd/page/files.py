"""The static files of the page, read once; the page requests nothing from other hosts.

The HTML contains the current verdicts, so that they are visible before any script has loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from healthd.http.connection import Reply, Request


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
PAGE, SHELL = "/", "/shell"  # with the verdicts of now; without any, for who keeps it
WORKER = "/sw.js"  # a service worker serves the paths below its own
STYLE = (FOLDER / "page.css").read_text(encoding="utf-8")
# Only our own files, and our own style within the page: a request less before something is seen. No frame around it.
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{_digest(STYLE)}'; connect-src 'self'; "
    "img-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_LOOKING = {"level": "idle", "title": "Looking…", "text": "", "reasons": ()}


def paths() -> frozenset[str]:
    """Return the path of every file; the page is there as `SHELL`, a form is its name alone."""
    return frozenset(_path(file.name) for file in FOLDER.iterdir())


@cache
def load() -> dict[str, Reply]:
    """Return every file by its path, read at the first visit: without one, none of them costs memory."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
    texts["index.html"] = _filled(texts["index.html"], None)
    version = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    kept = [_path(name) for name in texts if not name.startswith(("login", "sw."))]
    texts["sw.js"] = Template(texts["sw.js"]).substitute(version=version, files=json.dumps(kept))
    return {_path(name): _answer(name, text) for name, text in texts.items()}


def page(picture: Mapping[str, Any]) -> Reply:
    """Return the page with the current verdicts in it."""
    text = _filled((FOLDER / "index.html").read_text(encoding="utf-8"), picture)
    return Reply(200, TYPES[".html"], text.encode(), HEADERS)


def unless_known(answer: Reply, request: Request) -> Reply:
    """Return a file, or 304 if the browser has the same version."""
    known = request.headers.get("if-none-match", "").removeprefix("W/")
    if known and ("ETag", known) in answer.headers:
        return answer._replace(status=304, body=b"")
    return answer


def _path(name: str) -> str:
    special = {"index.html": SHELL, "sw.js": WORKER}
    return special.get(name) or (f"/{name.removesuffix('.html')}" if name.endswith(".html") else f"/static/{name}")


def _answer(name: str, text: str) -> Reply:
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Reply(200, TYPES[Path(name).suffix], body, (*HEADERS, ("Cache-Control", "no-cache"), ("ETag", tag)))


def _filled(text: str, picture: Mapping[str, Any] | None) -> str:
    """Return the page with both verdicts in words, and the whole picture for its script."""
    verdicts = {one["id"]: one for one in picture["verdicts"]} if picture else {}
    words = {}
    for name in ("stream", "recorder"):
        verdict = verdicts.get(name, _LOOKING)
        todo = verdict["reasons"][0]["todo"] if verdict["reasons"] else ""
        fields = {**{field: verdict[field] for field in ("level", "title", "text")}, "todo": todo}
        words.update({f"{name}_{field}": escape(said) for field, said in fields.items()})
    data = json.dumps(picture, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    modules = (file.name for file in FOLDER.glob("*.js") if file.name not in {"sw.js", "login.js"})
    preloads = "\n".join(f'  <link rel="modulepreload" href="/static/{name}">' for name in sorted(modules))
    return Template(text).substitute(words, now=data, style=STYLE, preloads=preloads)
