"""The module as a component: the host's functions and types, as the build generates them from the interface."""

import json as _json
import re

from componentize_py_types import Err
from wit_world.exports import handler as handler_types
from wit_world.imports import log as log_functions
from wit_world.imports import outbound_http, types

from portcullis.module import Call, GateRefused, Host, ModuleError, connect, run


def handler_of(actions: dict) -> type:
    """What `main.py` exports. Nothing but `Err` leaves it: another exception would end the call as a trap."""

    class Handler:
        def invoke(self, call):
            connect(Host(send=_send, log=_log))
            known = Call(
                action=call.operation,
                config=_json.loads(call.config),
                run_id=call.run_id,
                now_ms=call.now_ms,
                idempotency_key=call.idempotency_key,
            )
            try:
                return run(actions, known, call.input)
            except ModuleError as error:
                raise Err(_failure(error)) from error

    return Handler


def _failure(error: ModuleError):
    return handler_types.Failure(
        code=error.code,
        message=error.message,
        class_=error.error_class,
        retryable=error.retryable,
        cause=error.gate,
        response=error.response,
    )


def _send(method, url, headers, body, credential, limits):
    timeout_ms, max_response_bytes = limits
    options = types.RequestOptions(None, None, timeout_ms, max_response_bytes) if any(limits) else None
    if method not in types.Method.__members__:
        raise ModuleError("outbound", f"there is no method {method}")
    request = types.Request(types.Method[method], url, headers, body, credential, options)
    try:
        response = outbound_http.send(request)
    except Err as error:
        raise _refused(error.value) from None
    return response.status, response.headers, response.body


def _refused(error) -> GateRefused:
    reason = _kebab(type(error).__name__.removeprefix("Error_"))
    detail = getattr(error, "value", None)
    if isinstance(detail, types.LimitInfo):
        detail = detail.kind
    if hasattr(detail, "name"):
        detail = detail.name.lower().replace("_", "-")
    return GateRefused(reason, detail, error)


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _log(level: str, message: str) -> None:
    log_functions.log(log_functions.Level[level.upper()], message)
