"""What every page carries for safety: headers, the form token, where a log-in may return to."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Request, Response

COOKIE = "ansim_session"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def protect(response: Response, *, page: bool) -> Response:
    """Add the headers; a page is never stored, a script or style is asked after each time."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    # Not "no-referrer": that would make the Origin of our own forms "null".
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
    response.headers["Cache-Control"] = "no-store" if page else "no-cache"
    return response


def token_matches(expected: str, given: str | None) -> bool:
    """Return whether a form carries this session's token."""
    return bool(expected) and hmac.compare_digest(expected.encode(), (given or "").encode())


def same_origin(request: Request) -> bool:
    """Return whether a form without a session comes from our own page, as far as the browser says."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def local_path(wanted: str | None) -> str | None:
    """Return `wanted` if it is a path of ours, else None: nobody is sent elsewhere after a log-in."""
    if not wanted or not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted:
        return None
    return wanted if wanted.isprintable() else None
