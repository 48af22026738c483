"""A gate for tests: recorded exchanges, in order, in the place of the host."""

import json
from typing import Any, Optional

from portcullis.module import Call, GateRefused, Host, ModuleError, connect, run


class FakeGate:
    """Answers these exchanges: `{"expect_request", "response"}` or `{"expect_request", "error": (reason, detail)}`."""

    def __init__(self, exchanges: Optional[list] = None):
        self.left = list(exchanges or [])
        self.lines: list[tuple[str, str]] = []

    def call(self, actions: dict, action: str, data: Any, config: Optional[dict] = None) -> Any:
        """Calls an action and gives its output, or raises its ModuleError. Every exchange must be used."""
        before = connect(Host(send=self._send, log=lambda *line: self.lines.append(line)))
        call = Call(action=action, config=config or {}, idempotency_key="example-key")
        try:
            return json.loads(run(actions, call, json.dumps(data)))["output"]
        finally:
            connect(before)
            odd = [line for _, line in self.lines if "AssertionError" in line]
            assert not odd, odd[0]
            assert not self.left, f"exchanges that were not asked for: {self.left}"

    def _send(self, method, url, headers, body, credential, _limits):
        assert self.left, f"nothing more is recorded: {method} {url}"
        exchange = self.left.pop(0)
        expected = exchange.get("expect_request", {})
        _same("method", method, expected.get("method", method))
        _same("url", url, expected.get("url", url))
        if "credential" in expected:
            _same("credential", credential, expected["credential"])
        fields = {name.lower(): value.decode() for name, value in headers}
        for name, value in expected.get("headers", {}).items():
            _same(f"header {name}", fields.get(name.lower()), value)
        wanted = expected.get("body")
        if wanted is None or isinstance(wanted, str):
            _same("body", None if body is None else body.decode(), wanted)
        else:
            _same("body", json.loads(body or b"null"), wanted)
        if "error" in exchange:
            raise GateRefused(*exchange["error"])
        return _answer(exchange["response"])


def run_examples(definition: dict, actions: dict) -> int:
    """Runs every example of the definition's module actions, as an upload does, and gives their number."""
    count = 0
    for action in definition["actions"]:
        if action.get("handler") != "module":
            continue
        for example in action.get("examples", []):
            _example(action["action_id"], example, actions)
            count += 1
    assert count, "the definition has no example of a module action"
    return count


def _example(action: str, example: dict, actions: dict) -> None:
    name = f"{action}, {example['name']!r}"
    gate = FakeGate(example.get("exchanges"))
    expected = example.get("expect_error")
    try:
        output = gate.call(actions, action, example["input"], example.get("config"))
    except ModuleError as error:
        assert expected is not None, f"{name}: {error.code}: {error.message}"
        got = {"class": error.error_class, "code": error.code, "message": error.message}
        for member, value in expected.items():
            _same(f"{name}: {member}", got.get(member), value)
        return
    assert expected is None, f"{name}: an error was expected, the output is {output}"
    if "expect_output" in example:
        _same(f"{name}: output", output, example["expect_output"])


def _answer(response: dict):
    headers = dict(response.get("headers", {}))
    body = response.get("body")
    if body is not None and not isinstance(body, str):
        headers.setdefault("content-type", "application/json")
        body = json.dumps(body)
    return response["status"], [(name, value.encode()) for name, value in headers.items()], (body or "").encode()


def _same(what: str, got: Any, expected: Any) -> None:
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"
