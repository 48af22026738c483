"""Requests through the host's gate, in the manner of the package `requests`.

`credential` is the NAME of the slot that the host injects; without it, a request goes out without a credential.
`timeout` (seconds) and `max_response_bytes` can lower the host's limits. Redirects are followed by the host or not at
all.
"""

import json as _json
from typing import Any, Optional
from urllib.parse import quote, urlencode

from portcullis.module import GateRefused, ModuleError, host

_CLASSES = {
    400: "validation", 401: "auth", 403: "permission", 404: "not_found", 408: "transient", 409: "conflict",
    410: "not_found", 412: "conflict", 422: "validation", 425: "transient", 429: "rate_limit",
}  # fmt: skip
_PASSING = ("dns-failed", "connect-failed", "timeout", "protocol")
_KEPT_BODY_BYTES = 65536


class Response:
    """The answer to a request."""

    def __init__(self, url: str, status: int, headers: list, content: bytes):
        self.url = url
        self.status_code = status
        self.headers: dict[str, str] = {}
        for name, value in headers:
            name, value = name.lower(), value.decode("utf-8", "replace")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.content = content

    @property
    def ok(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body read as JSON."""
        try:
            return _json.loads(self.content)
        except ValueError as error:
            raise ModuleError("response_unreadable", f"the answer is no JSON: {error}") from error

    def raise_for_status(self) -> None:
        """Raises an error with the class of the status, unless that is 2xx."""
        if self.ok:
            return
        default = "transient" if 500 <= self.status_code < 600 else "permanent"
        name = _CLASSES.get(self.status_code, default)
        retryable = name in ("rate_limit", "transient")
        error = {"class": name, "action": "retry" if retryable else "fail", "ruled": False}
        body = None if len(self.content) > _KEPT_BODY_BYTES else self._readable()
        answer = {"status": self.status_code, "headers": self.headers, "body": body}
        raise ModuleError(
            "upstream_status",
            f"the answer has the status {self.status_code}",
            retryable=retryable,
            error_class=name,
            status=self.status_code,
            response=_json.dumps(answer | {"error": error | {"code": None, "message": None}}),
        )

    def _readable(self) -> Any:
        try:
            return _json.loads(self.content)
        except ValueError:
            return self.text


def request(
    method: str,
    url: str,
    *,
    params: Optional[dict] = None,
    headers: Optional[dict] = None,
    data: Any = None,
    json: Any = None,
    credential: Optional[str] = None,
    timeout: Optional[float] = None,
    max_response_bytes: Optional[int] = None,
) -> Response:
    """Sends one request. Any answer is a success here; `raise_for_status` looks at its status."""
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params, quote_via=quote)
    fields = [(name, str(value).encode()) for name, value in (headers or {}).items()]
    body = None
    if json is not None:
        body = _json.dumps(json).encode()
        fields.append(("content-type", b"application/json"))
    elif isinstance(data, dict):
        body = urlencode(data, quote_via=quote).encode()
        fields.append(("content-type", b"application/x-www-form-urlencoded"))
    elif data is not None:
        body = data.encode() if isinstance(data, str) else bytes(data)
    limits = (None if timeout is None else int(timeout * 1000), max_response_bytes)
    try:
        status, answered, content = host().send(method.upper(), url, fields, body, credential, limits)
    except GateRefused as refused:
        words = f"{refused.reason}: {refused.detail}" if refused.detail else refused.reason
        raise ModuleError(
            "outbound", f"no answer: {words}", retryable=refused.reason in _PASSING, gate=refused.cause
        ) from refused
    return Response(url, status, answered, content)


def segment(value: str) -> str:
    """A value as one segment of a path, whatever is in it."""
    return quote(value, safe="")


def get(url: str, **options: Any) -> Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> Response:
    return request("POST", url, **options)


def put(url: str, **options: Any) -> Response:
    return request("PUT", url, **options)


def patch(url: str, **options: Any) -> Response:
    return request("PATCH", url, **options)


def delete(url: str, **options: Any) -> Response:
    return request("DELETE", url, **options)
