"""Errors as problem+json (RFC 9457): a stable code, a sentence, never a stack trace."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, request
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from devices.reading import UploadError
from service.access import Denied
from service.workflows.house import warn, where
from service.workflows.incidents import Refused
from service.workflows.people import LoginTaken

LONGEST_DETAIL = 600
"""What was sent is quoted in some details: an answer must not outgrow the question."""
MACHINE_PATHS = ("/v1/", "/openapi.json", "/healthz", "/readyz", "/metrics")
CODES = {
    400: "bad_request",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}


class Problem(Exception):
    """A refusal with everything its answer needs."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


def answer(problem: Problem) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": CODES.get(problem.status, "error").replace("_", " "),
        "status": problem.status,
        "code": problem.code,
        "detail": _short(problem.detail),
    }
    if problem.field is not None:
        body["field"] = problem.field
    response = Response(
        msgspec.json.encode(body), status=problem.status, content_type="application/problem+json"
    )
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer, Signature"
    return response


def _short(detail: str) -> str:
    return detail if len(detail) <= LONGEST_DETAIL else detail[: LONGEST_DETAIL - 2] + " …"


def install(blueprint: Blueprint) -> None:
    """Give a blueprint of machine doors its problem+json answers."""
    blueprint.register_error_handler(Problem, answer)
    blueprint.register_error_handler(UploadError, _upload_error)
    blueprint.register_error_handler(Denied, _denied)
    blueprint.register_error_handler(Refused, _refused)
    blueprint.register_error_handler(LoginTaken, _login_taken)
    blueprint.register_error_handler(LookupError, _lookup)
    blueprint.register_error_handler(HTTPException, _http)
    for outage in (OperationalError, InterfaceError, InternalError, PoolTimeout, ConnectionError):
        blueprint.register_error_handler(outage, _busy)
    blueprint.register_error_handler(Exception, _unexpected)


def install_fallbacks(app: Flask) -> None:
    """Unknown addresses under the machines' paths get problem+json too; pages have their own."""

    @app.errorhandler(HTTPException)
    def fallback(error: HTTPException) -> Any:
        return _http(error) if f"{request.path}/".startswith(MACHINE_PATHS) else error


def _upload_error(error: UploadError) -> Response:
    return answer(Problem(error.status, error.code, error.detail, field=error.field))


def _denied(_error: Denied) -> Response:
    return answer(Problem(403, "forbidden", "you may not see or do this; ask your operator for access"))


def _login_taken(_error: LoginTaken) -> Response:
    return answer(Problem(409, "login_taken", "somebody has this log-in name already; choose another", field="login"))


def _refused(error: Refused) -> Response:
    status = 422 if error.field else 409
    return answer(Problem(status, error.code, error.message, field=error.field))


def _lookup(error: LookupError) -> Response:
    if isinstance(error, KeyError | IndexError):
        return _unexpected(error)  # a slip of our own code, not "no such thing"
    return answer(Problem(404, "not_found", "there is nothing at this address; check the id"))


def _http(error: HTTPException) -> Any:
    status = error.code or 500
    if status < 400:
        return error  # a doubled slash: the way to the right address
    code = CODES.get(status, "error")
    detail = error.description or code
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"the method must be one of {allowed or 'none'} at this address, was {request.method[:20]}"
    if status == 413:
        detail = "the body must be at most 1 MiB; send smaller uploads"
    response = answer(Problem(status, code, detail))
    # RFC 9110 section 15.5.6: a 405 names the methods that there are.
    response.headers.extend([pair for pair in error.get_headers() if pair[0] == "Allow"])
    return response


def _busy(error: Exception) -> Response:
    """The database or the key store is away, or all connections to it are taken."""
    warn("database_unavailable", why=type(getattr(error, "orig", None) or error).__name__)
    return answer(
        Problem(503, "unavailable", "the database is not answering; send the same again", retry_after_s=2)
    )


def _unexpected(error: Exception) -> Response:
    path = request.url_rule.rule if request.url_rule else ""
    warn("internal_error", path=path, why=type(error).__name__, where=where(error))
    return answer(
        Problem(500, "internal_error", "this is our fault and has been noted; send the same again later")
    )
