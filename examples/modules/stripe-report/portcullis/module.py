"""Calls, errors and log lines. Knows the host only as two functions, so that tests can stand in for it.

An action is `action(call, data)`: it returns what `json.dumps` takes, or raises. There is no clock and no
randomness: `time.time()` ends the call, `random.random()` is the same in every call. Import at the top of a file only.
"""

import json as _json
from dataclasses import dataclass, field
from typing import Any, Callable, Optional


class ModuleError(Exception):
    """Why an action has no output: a stable code in snake_case, and a message for people."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        error_class: Optional[str] = None,
        status: Optional[int] = None,
        gate: Any = None,
        response: Optional[str] = None,
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.error_class = error_class
        self.status = status
        self.gate = gate
        self.response = response


class GateRefused(Exception):
    """What a host's `send` raises: the gate's reason in the words of the interface, such as `connect-failed`."""

    def __init__(self, reason: str, detail: Optional[str] = None, cause: Any = None):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.cause = cause


@dataclass
class Call:
    """One call of one action."""

    action: str
    config: dict = field(default_factory=dict)
    run_id: str = "run_example"
    now_ms: int = 1767225600000
    idempotency_key: Optional[str] = None


@dataclass
class Host:
    """The host: `send(method, url, headers, body, credential, limits)` gives (status, headers, body)."""

    send: Callable
    log: Callable


_host: Optional[Host] = None


def connect(host: Optional[Host]) -> Optional[Host]:
    """Sets the host, the real one or a fake gate. Returns the one before."""
    global _host
    before, _host = _host, host
    return before


def host() -> Host:
    """The host of this call."""
    if _host is None:
        raise RuntimeError("there is no gate here; in a test use portcullis.testing")
    return _host


class _Log:
    """Lines for the people who run the module: `log.info("…")`."""

    def debug(self, message: object) -> None:
        host().log("debug", str(message))

    def info(self, message: object) -> None:
        host().log("info", str(message))

    def warn(self, message: object) -> None:
        host().log("warn", str(message))

    def error(self, message: object) -> None:
        host().log("error", str(message))


log = _Log()


def find_or_create(find: Callable, create: Callable) -> tuple[Any, bool]:
    """Finds a thing (None: there is none) or creates it; after a conflict (409) finds it once more."""
    thing = find()
    if thing is not None:
        return thing, False
    try:
        return create(), True
    except ModuleError as error:
        thing = find() if error.status == 409 else None
        if thing is None:
            raise
        return thing, False


def run(actions: dict, call: Call, data: str) -> str:
    """Runs an action and gives the document for the host. Every exception leaves as a ModuleError."""
    try:
        action = actions.get(call.action)
        if action is None:
            raise ModuleError("unknown_action", f"this module has no action {call.action!r}")
        return _json.dumps({"output": action(call, _json.loads(data))})
    except ModuleError:
        raise
    except BaseException as error:
        log.error(_trace(error))
        raise ModuleError("module_failed", f"{type(error).__name__}: {error}") from error


def _trace(error: BaseException) -> str:
    """The error and where it was. Not the module `traceback`: it looks for source files, and there are none."""
    lines = [f"{type(error).__name__}: {error}"]
    at = error.__traceback__
    while at is not None:
        lines.append(f"  {at.tb_frame.f_code.co_filename}:{at.tb_lineno} in {at.tb_frame.f_code.co_name}")
        at = at.tb_next
    return "\n".join(lines)
