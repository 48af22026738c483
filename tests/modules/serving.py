"""The third party of the modules' tests, and a server that calls it: each runs in a network namespace of its own.

tests/modules/run starts them and says what is tested.
"""

import contextlib
import http.client
import http.server
import importlib.machinery
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

CALL_S = 300
COMPILING = "compiling"
GUIDE = Path(__file__).resolve().parent.parent.parent / "docs/modules.md"
# The host whose links carry their own permission: it must not get a credential.
WITHOUT_CREDENTIAL = "prod-files-secure.s3.us-west-2.amazonaws.com"
# Made from the clock, and so another in each run.
OF_THE_CLOCK = {"hs_timestamp"}
# The connector whose calls go on while a module is compiled.
OTHER, OTHER_HOST = "others", "others.example.com"
OTHER_BEFORE_S, OTHER_CALLERS, OTHER_PAUSE_S, OTHER_CALLS_MAX = 5, 2, 0.01, 50_000


def clients():
    """The server and the namespaces, from the clients' driver."""
    path = Path(__file__).resolve().parent.parent / "clients/run"
    loader = importlib.machinery.SourceFileLoader("clients_run", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("clients_run", loader))
    loader.exec_module(module)
    return module


shared = clients()
Failed, say = shared.Failed, shared.say


def expect(holds, why):
    if not holds:
        raise Failed(why)


def longest_example(definition):
    """The action with a module, and its example with an output and the most exchanges."""
    found = [
        (len(example["exchanges"]), action["action_id"], example)
        for action in definition["actions"] if action.get("handler") == "module"
        for example in action["examples"] if "expect_output" in example
    ]
    _, action, example = max(found, key=lambda entry: entry[0])
    return action, example


# The third party ------------------------------------------------------------------------------------------


def third_party(directory):
    """Answers what `script.json` says, in that order, and writes down what it got. Runs until it is ended."""
    turn = threading.Lock()
    state = {"script": None, "answered": 0}

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Why: an answer is one packet.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = f"https://{self.headers['host']}{self.path}"
            if self.headers["host"] == OTHER_HOST:
                return self.give(200, {}, {"pong": True})
            with turn:
                script = json.loads((directory / "script.json").read_text())
                if state["script"] != script["name"]:
                    state.update(script=script["name"], answered=0)
                exchanges, at = script["exchanges"], state["answered"]
                state["answered"] += 1
                with open(directory / f"got-{script['name']}", "a", encoding="utf-8") as got:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    line = {"method": self.command, "url": url, "headers": headers, "body": body.decode()}
                    got.write(json.dumps(line) + "\n")
            if at >= len(exchanges):
                return self.give(500, {}, {"error": "one more request than there are answers"})
            answer = exchanges[at]["response"]
            return self.give(answer["status"], answer.get("headers", {}), answer.get("body"))

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def give(self, status, headers, body):
            text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((shared.PUBLIC, 443), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf.pem", directory / "leaf.key")
    # Why not here: a handshake belongs to the thread of its connection.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def same(got, wanted):
    """Whether two documents are the same, but for what the clock says."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(
            name in OF_THE_CLOCK or same(got[name], wanted[name]) for name in got
        )
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    return got == wanted


def check_requests(home, name, exchanges, secret):
    """What the third party got is what the example says, with the credential where it belongs."""
    path = home / f"got-{name}"
    got = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    expect(len(got) == len(exchanges), f"{len(got)} requests came to the third party, and not {len(exchanges)}")
    for request, exchange in zip(got, exchanges):
        wanted = exchange["expect_request"]
        where = f"{request['method']} {request['url']}"
        expect(where == f"{wanted['method']} {wanted['url']}", f"{where} came, and not {wanted}")
        for header, value in wanted.get("headers", {}).items():
            expect(request["headers"].get(header.lower()) == value, f"{where} has another {header}")
        if "body" in wanted:
            expect(same(json.loads(request["body"]), wanted["body"]), f"{where} has another body: {request['body']}")
        credential = None if WITHOUT_CREDENTIAL in request["url"] else f"Bearer {secret}"
        expect(request["headers"].get("authorization") == credential, f"{where} does not have the right credential")


# The server -----------------------------------------------------------------------------------------------


class Api:
    """The running server's API, on one connection."""

    def __init__(self, url, tokens):
        self.host, self.tokens = url.removeprefix("http://"), tokens
        self.connection = http.client.HTTPConnection(self.host, timeout=CALL_S)

    def another(self):
        return Api(self.host, self.tokens)

    def send(self, role, method, path, body=None):
        """One request; status and document of the answer. Bytes are a component."""
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        if isinstance(body, bytes):
            headers["content-type"] = "application/wasm"
        elif body is not None:
            headers["content-type"], body = "application/json", json.dumps(body).encode()
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        return answer.status, json.loads(text or b"null")

    def do(self, role, method, path, body=None, statuses=(200, 201, 204)):
        status, answer = self.send(role, method, path, body)
        expect(status in statuses, f"{method} {path} answers {status}: {json.dumps(answer)[:2000]}")
        return answer

    def accepting(self, role, method, path, body, wanted):
        """A write that lets a module do more: refused with the difference, then accepted."""
        asked = self.do(role, method, path, body, statuses=(409,))
        check_difference(asked, wanted)
        return self.do(role, method, f"{path}?accept={asked['digest']}", body)


def check_difference(asked, wanted):
    """The answer asks whether the module may do more, and says what."""
    expect(asked.get("code") == "capability_widened", f"the answer is {asked}")
    lacking = [line for line in wanted if line not in asked["difference"]]
    expect(not lacking, f"the difference {asked['difference']} is without {lacking}")


class Calls:
    """Calls of another connector that go on, and how each went."""

    def __init__(self, api):
        self.ended, self.calls = threading.Event(), []
        self.threads = [threading.Thread(target=self.go_on, args=(api.another(),)) for _ in range(OTHER_CALLERS)]
        for thread in self.threads:
            thread.start()

    def go_on(self, api):
        while not self.ended.is_set() and len(self.calls) < OTHER_CALLS_MAX:
            begin = time.monotonic()
            try:
                status, answer = api.send("run", "POST", f"/run/acme/main/connector/{OTHER}/ping", {"input": {}})
                good = status == 200 and answer.get("output") == {"pong": True}
                why = None if good else f"{status} {answer}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = repr(error)
            self.calls.append((begin, time.monotonic() - begin, why))
            time.sleep(OTHER_PAUSE_S)

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def tell(self, when, since, until):
        """Shows the calls that began then; how many, and those that failed."""
        then = [(took, why) for begin, took, why in self.calls if since <= begin < until]
        times = sorted(took * 1000 for took, _ in then)
        failed = [why for _, why in then if why is not None]
        if times:
            p50, p99 = (times[math.ceil(len(times) * part) - 1] for part in (0.50, 0.99))
            say(f"  {when}: {len(then)} calls, {len(failed)} failed, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        return len(then), failed


def with_section(component, text):
    """The same component with one more custom section: other bytes, the same code."""
    def number(value):
        out = bytearray()
        while True:
            value, low = value >> 7, value & 0x7F
            out.append(low | (0x80 if value else 0))
            if not value:
                return bytes(out)

    content = number(4) + b"note" + text.encode()
    return component + b"\0" + number(len(content)) + content


def compilers(server):
    """Processes of the server that compile."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if parent == str(server.process.pid) and b"compile-module" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def kept(server):
    """The files of the data directory, but for those of store, ledger and runs, which change by themselves."""
    data = server.home / "data"
    paths = {str(path.relative_to(data)) for path in data.rglob("*")}
    return {path for path in paths if not re.match(r"(store|ledger|runs)/", path) or path.endswith((".new", ".tmp"))}


def compiling(api, server, module):
    """Calls while a module is compiled, the same module again, and a compiler that is killed."""
    component = Path(module["wasm"]).read_bytes()
    say(f"  a component of {len(component)} bytes")
    api.do("platform", "POST", "/admin/connector", {
        "connector_id": OTHER, "display_name": "Others", "version": "1.0.0", "auth_type": "bearer",
        "allowed_domains": [OTHER_HOST],
        "auth_schema": {"fields": [{"name": "api_key", "label": "API key", "type": "password", "required": True}]},
        "actions": [{"action_id": "ping", "name": "Ping", "http_method": "GET", "effect": "read",
                     "url_template": f"https://{OTHER_HOST}/ping"}],
    })
    setting = {"config": {"api_key": "key-of-others-5d1c"}}
    api.do("workspace", "PUT", f"/workspace/acme/main/settings/connector/{OTHER}", setting)
    calls = Calls(api)
    try:
        start = time.monotonic()
        time.sleep(OTHER_BEFORE_S)
        begin = time.monotonic()
        first = api.do("platform", "POST", "/admin/module", component, statuses=(201,))
        end = time.monotonic()
        time.sleep(OTHER_BEFORE_S)
        after = time.monotonic()
    finally:
        calls.stop()
    say(f"  first upload: 201 after {end - begin:.2f} s, compiled in {first['report']['compile_ms']} ms, "
        f"{first['report']['native_bytes']} bytes of machine code")
    told = [calls.tell("before it", start, begin), calls.tell("during it", begin, end),
            calls.tell("after it ", end, after)]
    expect(all(count for count, _ in told), "no call went on")
    failed = [why for _, whys in told for why in whys]
    expect(not failed, f"{len(failed)} calls failed: {failed[:3]}")
    begin = time.monotonic()
    again = api.do("platform", "POST", "/admin/module", component, statuses=(200,))
    say(f"  second upload: 200 after {time.monotonic() - begin:.2f} s")
    expect(again == first, f"another answer than the first: {again}")
    killed(api, server, with_section(component, "killed"))


def killed(api, server, component):
    before, modules = kept(server), api.do("platform", "GET", "/admin/module")["data"]
    answers = []
    other = api.another()
    upload = threading.Thread(
        target=lambda: answers.append(other.send("platform", "POST", "/admin/module", component))
    )
    upload.start()
    children = []
    while not children and upload.is_alive():
        time.sleep(0.02)
        children = compilers(server)
    # In the middle of its work.
    time.sleep(1)
    expect(children and children == compilers(server), "no compiler is there to be killed")
    for child in children:
        os.kill(child, signal.SIGKILL)
    upload.join()
    expect(answers, "the upload has no answer")
    status, answer = answers[0]
    say(f"  compiler killed: {status} {answer.get('code')}: {answer.get('detail')}")
    expect(status == 422 or status >= 500, f"the upload is answered with {status}")
    expect(re.fullmatch(r"[a-z][a-z_]+", str(answer.get("code"))), f"no code: {answer}")
    expect(not compilers(server), "a compiler is left")
    left = kept(server) ^ before
    expect(not left, f"the data directory has other files than before: {sorted(left)}")
    expect(api.do("platform", "GET", "/admin/module")["data"] == modules, "the list of modules changed")
    begin = time.monotonic()
    api.do("platform", "POST", "/admin/module", component, statuses=(201,))
    say(f"  the same bytes again: 201 after {time.monotonic() - begin:.2f} s")
    unfinished = sorted(path for path in kept(server) if path.endswith(".new"))
    expect(not unfinished, f"unfinished files are left: {unfinished}")


def by_the_guide(api, module, difference):
    """Runs the commands with which the guide uploads module and definition; the two answers."""
    blocks = re.findall(r"^```\n(curl .*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    expect(len(blocks) == 1, f"{GUIDE.name} does not say how a module is uploaded")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"API": f"http://{api.host}", "PLATFORM": api.tokens["platform"], "DIFFERENCE": difference}
    done = subprocess.run(
        ["bash", "-euc", blocks[0]], cwd=Path(module["wasm"]).parent, env=environment,
        capture_output=True, text=True, timeout=CALL_S,
    )
    answers, rest = [], done.stdout.strip()
    while rest:
        answer, end = json.JSONDecoder().raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    expect(len(answers) == 2, f"{len(answers)} answers: {done.stdout}{done.stderr}")
    return answers


def uploaded(api, module, definition):
    """The connector with its module: made as the guide says, or the module as the next one of a connector."""
    component, name = Path(module["wasm"]).read_bytes(), definition["connector_id"]
    digest = definition["runtime"]["module"]
    capability = [f"module {digest}", "profile pure", "credential default"]
    capability += [f"request {method} {entry['url']}"
                   for entry in definition["runtime"]["requests"] for method in entry["methods"]]
    capability += [f"host {host}" for host in definition["allowed_domains"]]
    if module["kind"] == "starter":
        if shutil.which("curl"):
            stored, asked = by_the_guide(api, module, "")
            check_difference(asked, capability)
            _, made = by_the_guide(api, module, asked["digest"])
        else:
            stored = api.do("platform", "POST", "/admin/module", component)
            made = api.accepting("platform", "POST", "/admin/connector", definition, capability)
        expect(stored.get("digest") == digest, f"{digest} was checked, and the upload says {stored}")
        expect(made.get("revision") == 1, f"{made}")
        return
    # Why: a connector must have had a module before its module is replaced. Its examples are not those of that one.
    stored = api.do("platform", "GET", "/admin/module")["data"]
    first = stored[0]["digest"] if stored else api.do("platform", "POST", "/admin/module", component)["digest"]
    before = json.loads(json.dumps(definition))
    before["runtime"]["module"] = first
    for action in before["actions"]:
        action.pop("examples", None)
    api.accepting("platform", "POST", "/admin/connector", before, capability[1:])
    path = f"/admin/connector/{name}"
    if first != digest:
        replaced = api.accepting("platform", "PUT", f"{path}/module", component, capability[:1])
        expect(replaced["module"]["digest"] == digest, f"{replaced}")
        expect(replaced["connector"]["revision"] == 2, f"{replaced}")
    # Its examples run in the server.
    api.do("platform", "PUT", path, definition)


def called(api, home, module):
    """Uploads a module, binds it and calls it once; how long upload and call took."""
    definition = json.loads(Path(module["definition"]).read_text())
    connector = definition["connector_id"]
    begin = time.monotonic()
    uploaded(api, module, definition)
    upload_s = time.monotonic() - begin
    action, example = longest_example(definition)
    secret = f"key-of-{connector}-9f31c07b"
    field = definition["auth_schema"]["fields"][0]["name"]
    setting = f"/workspace/acme/main/settings/connector/{connector}"
    state = api.do("workspace", "PUT", setting, {"config": {field: secret}})
    expect(state["state"] == "connected", f"{state}")
    if module["kind"] == "starter":
        mapping = {name: f"{{{{source.{name}}}}}" for name in example["input"]}
        automation = api.do("org", "POST", "/org/acme/automation", {
            "entity_name": "contact", "event_name": "contact.created",
            "destination_config": {"connector_id": connector, "action_id": action, "field_mapping": mapping},
        })
        path = f"/run/acme/main/automation/{automation['automation_id']}"
        body = {"source": example["input"]}
    else:
        path, body = f"/run/acme/main/connector/{connector}/{action}", {"input": example["input"]}
    exchanges = example["exchanges"]
    (home / "script.json").write_text(json.dumps({"name": connector, "exchanges": exchanges}))
    shown = api.do("run", "POST", f"{path}?dry_run=true", body)
    expect(shown["complete"] is False, f"the dry run says that there is no more: {shown}")
    expect(shown["request"]["url"] == exchanges[0]["expect_request"]["url"], f"the dry run shows {shown['request']}")
    check_requests(home, connector, [], secret)
    begin = time.monotonic()
    run = api.do("run", "POST", path, body)
    call_s = time.monotonic() - begin
    expect(run["status"] == "succeeded", f"{run}")
    expect(run["output"] == example["expect_output"], f"the output is {run['output']}")
    expect(run["usage"]["requests"] == len(exchanges), f"{run['usage']}")
    expect(secret not in json.dumps([shown, run]), "the credential is in an answer")
    check_requests(home, connector, exchanges, secret)
    return {"upload_s": upload_s, "call_s": call_s}


def hosts_of(modules):
    found = {OTHER_HOST}
    for module in modules:
        found.update(json.loads(Path(module["definition"]).read_text())["allowed_domains"])
    return sorted(found)


def serve(binary, home):
    """Runs the server beside the third party, with what was built; writes down how each module went."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = json.loads((home / "plan.json").read_text())
    server = shared.Server(binary, hosts_of(plan["modules"]))
    told = {}

    def judged(name, judge):
        say(f"== {name} in the server")
        try:
            told[name] = judge() or {}
        except (Failed, OSError, http.client.HTTPException, subprocess.SubprocessError, LookupError) as error:
            told[name] = {"why": f"{type(error).__name__}: {error}"}
            say(f"{name}: FAILED: {error}\n{server.tail()}")

    try:
        platform = server.start()
        variables = shared.tenants(server.url, platform)
        tokens = {role: variables[f"PORTCULLIS_{role.upper()}_TOKEN"]
                  for role in ("platform", "org", "workspace", "run")}
        api = Api(server.url, tokens)
        for module in plan["modules"]:
            if module["name"] == "js" and plan["compiling"]:
                judged(COMPILING, lambda: compiling(api, server, module))
        for module in plan["modules"]:
            judged(module["name"], lambda: called(api.another(), home, module))
    finally:
        if not server.stop():
            told["the server's end"] = {"why": "it did not end well"}
        (home / "told.json").write_text(json.dumps(told))
    return 0
