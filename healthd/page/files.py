"""The files a browser draws the page with, read once; nothing is asked for from anywhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from healthd.connection import Answer, Request

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
WORKER = "sw.js"  # a service worker serves the paths below its own
# Only our own files, nothing inline, no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def load() -> dict[str, Answer]:
    """Return every file by its path; the page itself is ``/``, a form and the service worker are their names alone."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        path = f"/{file.name}".removesuffix(".html") if file.suffix == ".html" else f"/static/{file.name}"
        body = file.read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = (*HEADERS, ("Cache-Control", "no-cache"), ("ETag", tag))
        path = {"/index": "/", f"/static/{WORKER}": f"/{WORKER}"}.get(path, path)
        found[path] = Answer(200, TYPES[file.suffix], body, headers)
    return found


def unless_known(answer: Answer, request: Request) -> Answer:
    """Return a file, or that it is still the one that the browser has."""
    known = request.headers.get("if-none-match", "").removeprefix("W/")
    if known and ("ETag", known) in answer.headers:
        return answer._replace(status=304, body=b"")
    return answer
