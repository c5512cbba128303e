"""Derive the server's other URLs from its import URL. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from common.remote import JSON, Remote


def base_url(remote_url: str) -> str:
    """Return the server of an import URL, with the prefix that a proxy gave it."""
    parts = urlsplit(remote_url)
    ends = [end for mark in ("/insert/", "/api/v1") if (end := parts.path.find(mark)) >= 0]
    prefix = parts.path[: min(ends)] if ends else ""
    return urlunsplit((parts.scheme, parts.netloc, prefix, "", ""))


def health_url(remote_url: str) -> str:
    """Return the health URL of an import URL's server."""
    return f"{base_url(remote_url)}/health"


def query_url(remote: Remote) -> str | None:
    """Return the query URL of the server, None where it is not known."""
    if remote.audit.query_url:
        return remote.audit.query_url
    if remote.type == JSON:
        return None
    return None if "/insert/" in urlsplit(remote.url).path else f"{base_url(remote.url)}/api/v1/query"
