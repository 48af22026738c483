"""What schemathesis does besides generating: tokens, ids that exist, and a count of the answers.

Every fourth call of a route is one as it should be, so that the route reaches its 2xx; the others are generated,
with ids in the path that exist, on routes that only read also without. Now and then a call comes with another
role's token or with none. What changes or deletes something is led to a thing made for that call or to a
separate tenant, so that the other routes keep finding what they need. Everything is made through the API.
"""

import atexit
import collections
import itertools
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import schemathesis

URL = os.environ["PORTCULLIS_URL"]
TOKENS = {
    role: os.environ[f"PORTCULLIS_{role.upper()}_TOKEN"] for role in ("platform", "org", "workspace", "run")
}
ORG, WORKSPACE = "acme", "main"
# The tenant whose settings are changed.
SIDE_ORG = "side"
# An entry of the catalog, and a connector made of it that does not try again when a name does not resolve.
ENTRY = "hubspot"
CONNECTOR, ACTION = "steady", "contact_create"
INPUT = {"email": "ada@example.org"}
CREDENTIAL = {"config": {"access_token": "pat-na1-00000000-0000-0000-0000-000000000000"}}
# A webhook that is off, and the receiver between namespaces.
WEBHOOK = {"url": "https://hooks.example.com/in", "events": ["connection.*"], "enabled": False}
RECEIVER = "https://api.notion.com/hook"
# Connected by consent.
CONSENT = "notion"
# A connection beside the default one.
NAMED = "sales"
CLIENT = {"auth_method": "oauth", "config": {"client_id": "client", "client_secret": "secret"}}
# A connector whose OAuth client is saved and deleted; nobody connects it.
APP = "asana"
APP_CLIENT = {"client_id": "client", "client_secret": "secret"}
# Installed and deleted again and again.
INSTALLED = "twilio"
# The tenant whose list allows nothing: every call of it is refused at once, and in its ledger.
SHUT_ORG = "shut"
# The tenant whose consents are finished: nobody restricts where it may call.
CONSENT_ORG = "consenting"

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Example", "version": "1"},
    "servers": [{"url": "https://api.example.com"}],
    "paths": {"/things": {"get": {"operationId": "listThings", "responses": {"200": {"description": "Things."}}}}},
}


class Stopped(Exception):
    """The hooks' own request was not answered as it should be."""


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_):
        return None


PAGES = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stays())


def ask(method, path, token, body=None, accept=(200, 201, 202, 204), **more):
    """One request of the hooks' own, with more headers; the answer's document."""
    headers = {"authorization": f"Bearer {token}", **more}
    request = urllib.request.Request(URL + path, method=method, headers=headers)
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    try:
        with OPENER.open(request, data=data, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    if status not in accept:
        raise Stopped(f"{method} {path} answers {status}: {text.decode(errors='replace')}")
    return json.loads(text) if text else None


class World:
    """What exists before the first case."""

    def __init__(self):
        self.numbers = itertools.count(1)
        platform = TOKENS["platform"]
        self.entry = {**ask("GET", f"/admin/catalog/{ENTRY}", platform), "retry": {"max_attempts": 1}}
        # Why none: such an input is erased at the end of a run, and then the run cannot be run again.
        for field in (field for action in self.entry["actions"] for field in action.get("body_schema", [])):
            field.pop("sensitive", None)
        ask("POST", "/admin/connector", platform, {**self.entry, "connector_id": CONNECTOR})
        ask("POST", f"/admin/catalog/{CONSENT}", platform)
        ask("POST", f"/admin/catalog/{APP}", platform)
        self.tenants = {ORG: TOKENS, **{org: self.tenant(org) for org in (SIDE_ORG, SHUT_ORG, CONSENT_ORG)}}
        for org in (ORG, SHUT_ORG):
            self.connection(org)
        ask("PUT", f"/org/{SHUT_ORG}/settings/integrations", self.tenants[SHUT_ORG]["org"], {"domain_allowlist": []})
        self.fired = self.automation()
        # The name resolves nowhere here, so this call fails and leaves a run and ledger records.
        self.run = self.call(ORG)["run"]["run_id"]

    def tenant(self, org):
        """An org with a workspace; its tokens."""
        platform = TOKENS["platform"]
        ask("POST", "/admin/org", platform, {"org": org})
        ask("POST", f"/admin/org/{org}/workspace", platform, {"workspace": WORKSPACE})
        tokens = {"platform": platform}
        for role, scope in (("org", {}), ("workspace", {"workspace": WORKSPACE}), ("run", {})):
            tokens[role] = ask("POST", "/admin/token", platform, {"role": role, "org": org, **scope})["token"]
        return tokens

    def call(self, org):
        """A call that fails, or is refused."""
        path = f"/run/{org}/{WORKSPACE}/connector/{CONNECTOR}/{ACTION}"
        return ask("POST", path, self.tenants[org]["run"], {"input": INPUT}, accept=(403, 502))

    def accepted(self):
        """A run that is not executed before tomorrow."""
        path = f"/run/{SIDE_ORG}/{WORKSPACE}/connector/{CONNECTOR}/{ACTION}"
        tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        body = {"input": INPUT, "not_before": tomorrow}
        return ask("POST", path, self.tenants[SIDE_ORG]["run"], body, prefer="respond-async")["run_id"]

    def cancelled(self):
        run = self.accepted()
        ask("POST", f"/run/{SIDE_ORG}/{WORKSPACE}/{run}/cancel", self.tenants[SIDE_ORG]["run"])
        return run

    def name(self, kind):
        return f"{kind}-{next(self.numbers)}"

    def definition(self):
        """A definition whose id is free."""
        return {**self.entry, "connector_id": self.name("connector")}

    def connector(self):
        definition = self.definition()
        ask("POST", "/admin/connector", TOKENS["platform"], definition)
        return definition["connector_id"]

    def automation_body(self):
        mapping = {"email": "{{source.email}}"}
        destination = {"connector_id": CONNECTOR, "action_id": ACTION, "field_mapping": mapping}
        return {"entity_name": "contact", "event_name": "contact.created", "destination_config": destination}

    def automation(self):
        return ask("POST", f"/org/{ORG}/automation", TOKENS["org"], self.automation_body())["automation_id"]

    def oauth_client(self, org):
        """A connector with a saved OAuth client."""
        base = "/admin" if org is None else f"/org/{org}"
        token = TOKENS["platform"] if org is None else self.tenants[org]["org"]
        ask("PUT", f"{base}/oauth-client/{APP}", token, APP_CLIENT)
        return APP

    def webhook(self, org):
        """A webhook that is off, which needs no receiver; there is one of it at a time."""
        base = "/admin" if org is None else f"/org/{org}"
        token = TOKENS["platform"] if org is None else self.tenants[org]["org"]
        ask("PUT", f"{base}/webhook/off", token, WEBHOOK)
        return "off"

    def delivery(self, org):
        """A delivery to a receiver, where there is one; an id that is none elsewhere."""
        base = "/admin" if org is None else f"/org/{org}"
        token = TOKENS["platform"] if org is None else self.tenants[org]["org"]
        wish = {"url": RECEIVER, "events": ["policy.changed"]}
        made = ask("PUT", f"{base}/webhook/told", token, wish, accept=(200, 201, 422))
        if made is None or "webhook" not in made:
            return "evt_" + "0" * 32
        policy = f"/org/{CONSENT_ORG}/settings/integrations"
        ask("PUT", policy, self.tenants[CONSENT_ORG]["org"], {"domain_allowlist": None})
        return ask("GET", f"{base}/webhook/told/delivery", token)["data"][0]["delivery_id"]

    def current_key(self):
        """The id of the master key that wraps already: promoting it changes nothing."""
        keys = ask("GET", "/admin/key", TOKENS["platform"])["keys"]
        return next(key["key_id"] for key in keys if key["state"] == "current")

    def org(self):
        name = self.name("org")
        ask("POST", "/admin/org", TOKENS["platform"], {"org": name})
        return name

    def workspace(self, org):
        name = self.name("workspace")
        ask("POST", f"/admin/org/{org}/workspace", TOKENS["platform"], {"workspace": name})
        return name

    def token(self):
        body = {"role": "run", "org": SIDE_ORG}
        return ask("POST", "/admin/token", TOKENS["platform"], body)["token_id"]

    def connection(self, org=SIDE_ORG):
        path = f"/workspace/{org}/{WORKSPACE}/settings/connector/{CONNECTOR}"
        ask("PUT", path, self.tenants[org]["workspace"], {"enabled": True, **CREDENTIAL})
        return CONNECTOR

    def consent(self, org=SIDE_ORG):
        path = f"/workspace/{org}/{WORKSPACE}/settings/connector/{CONSENT}"
        ask("PUT", path, self.tenants[org]["workspace"], {"enabled": True, **CLIENT})
        return CONSENT

    def named(self, connector=CONNECTOR, values=None):
        """A named connection that is there."""
        path = f"/workspace/{SIDE_ORG}/{WORKSPACE}/settings/connector/{connector}/connection/{NAMED}"
        ask("PUT", path, self.tenants[SIDE_ORG]["workspace"], {"enabled": True, **(values or CREDENTIAL)})
        return NAMED

    def named_consent(self):
        return self.named(CONSENT, CLIENT)

    def consented(self):
        """What a third party sends a person back with, and the cookie of that person's browser."""
        if "PORTCULLIS_CLIENTS_CA" not in os.environ:
            return {}, {}
        connector = self.consent(CONSENT_ORG)
        path = f"/workspace/{CONSENT_ORG}/{WORKSPACE}/settings/connector/{connector}/oauth/start"
        headers = {"authorization": f"Bearer {self.tenants[CONSENT_ORG]['workspace']}"}
        request = urllib.request.Request(URL + path, method="POST", data=b"", headers=headers)
        with OPENER.open(request, timeout=30) as answer:
            cookie = answer.headers["set-cookie"].split(";")[0]
            url = json.loads(answer.read())["authorize_url"]
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["state"][0]
        return {"state": state, "code": "a-code"}, dict([cookie.split("=", 1)])

    def linked(self, body):
        """A connect link of the tenant whose settings are changed. When there are too many, some are revoked first."""
        path = f"/workspace/{SIDE_ORG}/{WORKSPACE}/connect-session"
        token = self.tenants[SIDE_ORG]["workspace"]
        made = ask("POST", path, token, body, accept=(201, 422))
        if "session_id" in made:
            return made
        for old in ask("GET", f"{path}?limit=100", token)["data"]:
            ask("DELETE", f"{path}/{old['session_id']}", token, accept=(204, 404))
        return ask("POST", path, token, body)

    def session(self):
        return self.linked({})["session_id"]

    def link(self, frame=False):
        """The secret of a link."""
        return self.linked({"connector_id": CONSENT if frame else CONNECTOR})["connect_url"].rsplit("/", 1)[1]

    def browse(self, path, form=None, cookies=None):
        """A request of a person's browser; the text of the page, and the cookies with those that it sets."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(URL + path, data=data)
        if cookies:
            request.add_header("cookie", "; ".join("=".join(pair) for pair in cookies.items()))
        try:
            with PAGES.open(request, timeout=30) as answer:
                headers, text = answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            headers, text = error.headers, error.read().decode()
        for line in headers.get_all("set-cookie", []):
            name, value = line.split(";")[0].split("=", 1)
            cookies = {**(cookies or {}), name: value}
        return text, cookies or {}

    def claimed(self, frame=False):
        """A link that was claimed: its secret, what its forms carry, and the browser's cookies."""
        secret = self.link(frame)
        _, cookies = self.browse(f"/connect/{secret}/claim", {"frame": "1"} if frame else {})
        text, cookies = self.browse(f"/connect/{secret}", None, cookies)
        return secret, re.search(r'name="csrf" value="([^"]*)"', text).group(1), cookies, text

    def connect(self, operation):
        """Path parameters, query, cookies and form of a call of a page as it should be."""
        # Why the form of a consent: the other is tried at a third party, which cannot be reached here.
        consents = operation.endswith(("/consent", "/window/{ticket}", "/save"))
        if consents:
            self.consent()
        if operation in ("GET /connect/{secret}", "POST /connect/{secret}/claim"):
            return {"secret": self.link()}, {}, {}, {}
        secret, csrf, cookies, text = self.claimed(consents)
        named = {"csrf": csrf, "connector": CONSENT if consents else CONNECTOR}
        named["method"] = CLIENT["auth_method"] if consents else "default"
        if operation == "GET /connect/{secret}/consent":
            return {"secret": secret}, named, cookies, {}
        if operation == "GET /connect/{secret}/window/{ticket}":
            text, _ = self.browse(f"/connect/{secret}?method={named['method']}", None, cookies)
            return {"secret": secret, "ticket": re.search(r"/window/([0-9a-f]+)", text).group(1)}, {}, {}, {}
        if operation == "GET /connect/{secret}/end":
            self.browse(f"/connect/{secret}/end", {"csrf": csrf, "action": "cancel"}, cookies)
            return {"secret": secret}, {}, cookies, {}
        fields = {f"field.{name}": value for name, value in CLIENT["config"].items()}
        return {"secret": secret}, {}, cookies, {**named, **fields, "action": "cancel"}

    def free_entry(self):
        ask("DELETE", f"/admin/connector/{INSTALLED}?force=true", TOKENS["platform"], accept=(204, 404))
        return INSTALLED

    def soon(self):
        """Makes a ledger record in a moment, when the stream that waits for it is open."""
        for wait in (0.2, 1.0):
            timer = threading.Timer(wait, self.call, (SHUT_ORG,))
            timer.daemon = True
            timer.start()


WORLD = World()
HERE = {"org": ORG, "ws": WORKSPACE}
SIDE = {"org": SIDE_ORG, "ws": WORKSPACE}


def at(place=None, **ids):
    """Path parameters; a function among them makes a thing for this call."""
    return {**(place or {}), **ids}


# Of each route: its path parameters that exist, the query of a call as it should be, and its body.
PLANS = {
    "GET /healthz": (at(), {}, None),
    "GET /readyz": (at(), {}, None),
    "GET /metrics": (at(), {}, None),
    "GET /openapi.json": (at(), {}, None),
    "POST /admin/connector": (at(), {}, WORLD.definition),
    "GET /admin/connector": (at(), {}, None),
    "POST /admin/connector/validate": (at(), {}, WORLD.definition),
    "GET /admin/connector/{id}": (at(id=CONNECTOR), {}, None),
    "PUT /admin/connector/{id}": (at(id=WORLD.connector), {}, "replacement"),
    "PATCH /admin/connector/{id}": (at(id=WORLD.connector), {}, lambda: {"description": "Changed."}),
    "DELETE /admin/connector/{id}": (at(id=WORLD.connector), {"force": "true"}, None),
    "GET /admin/connector/{id}/revisions": (at(id=CONNECTOR), {}, None),
    "GET /admin/connector/{id}/revisions/{n}": (at(id=CONNECTOR, n="1"), {}, None),
    "POST /admin/connector/import": (at(), {}, lambda: {"document": DESCRIPTION}),
    "GET /admin/catalog": (at(), {}, None),
    "GET /admin/catalog/{id}": (at(id=ENTRY), {}, None),
    "POST /admin/catalog/{id}": (at(id=WORLD.free_entry), {}, None),
    "POST /admin/org": (at(), {}, lambda: {"org": WORLD.name("org")}),
    "GET /admin/org": (at(), {}, None),
    "GET /admin/org/{org}": (at(org=ORG), {}, None),
    "DELETE /admin/org/{org}": (at(org=WORLD.org), {}, None),
    "POST /admin/org/{org}/workspace": (at(org=SIDE_ORG), {}, lambda: {"workspace": WORLD.name("workspace")}),
    "GET /admin/org/{org}/workspace": (at(org=ORG), {}, None),
    "GET /admin/org/{org}/workspace/{ws}": (HERE, {}, None),
    "DELETE /admin/org/{org}/workspace/{ws}": (at(org=SIDE_ORG, ws=lambda: WORLD.workspace(SIDE_ORG)), {}, None),
    "GET /admin/org/{org}/limits": (at(org=ORG), {}, None),
    "PUT /admin/org/{org}/limits": (at(org=WORLD.org), {}, lambda: {"calls_per_minute": 6000}),
    "DELETE /admin/org/{org}/limits": (at(org=WORLD.org), {}, None),
    "GET /org/{org}/limits": (at(org=ORG), {}, None),
    "GET /org/{org}/workspace": (at(org=ORG), {}, None),
    "POST /admin/token": (at(), {}, lambda: {"role": "run", "org": SIDE_ORG}),
    "GET /admin/token": (at(), {}, None),
    "DELETE /admin/token/{id}": (at(id=WORLD.token), {}, None),
    "GET /org/{org}/connector": (at(org=ORG), {}, None),
    "GET /org/{org}/settings/integrations": (at(org=ORG), {}, None),
    "PUT /org/{org}/settings/integrations": (at(org=SIDE_ORG), {}, lambda: {"domain_allowlist": ["*.hubapi.com"]}),
    "PATCH /org/{org}/settings/integrations": (at(org=SIDE_ORG), {}, lambda: {"mode": "report"}),
    "GET /org/{org}/settings/integrations/usage": (at(org=ORG), {}, None),
    "GET /org/{org}/settings/retention": (at(org=ORG), {}, None),
    "PUT /org/{org}/settings/retention": (at(org=SIDE_ORG), {}, lambda: {"runs_days": 90}),
    "GET /admin/settings/retention": (at(), {}, None),
    "PUT /admin/settings/retention": (at(), {}, lambda: {"runs_days": 365}),
    "GET /org/{org}/outbound": (at(org=ORG), {}, None),
    "GET /org/{org}/outbound/stream": (at(org=SHUT_ORG), {}, None),
    "GET /org/{org}/outbound/verify": (at(org=ORG), {}, None),
    "GET /org/{org}/audit": (at(org=ORG), {}, None),
    "GET /org/{org}/audit/verify": (at(org=ORG), {}, None),
    "GET /admin/audit": (at(), {}, None),
    "GET /admin/audit/verify": (at(), {}, None),
    "POST /org/{org}/automation": (at(org=ORG), {}, WORLD.automation_body),
    "GET /org/{org}/automation": (at(org=ORG), {}, None),
    "GET /org/{org}/automation/{id}": (at(org=ORG, id=WORLD.fired), {}, None),
    "PUT /org/{org}/automation/{id}": (at(org=ORG, id=WORLD.automation), {}, WORLD.automation_body),
    "DELETE /org/{org}/automation/{id}": (at(org=ORG, id=WORLD.automation), {}, None),
    "POST /org/{org}/automation/preview": (
        at(org=ORG), {}, lambda: {"automation": WORLD.automation_body(), "source": INPUT}),
    "POST /org/{org}/automation/{id}/preview": (at(org=ORG, id=WORLD.fired), {}, lambda: {"source": INPUT}),
    "GET /org/{org}/connection": (at(org=ORG), {}, None),
    "GET /admin/connection": (at(), {}, None),
    "GET /org/{org}/oauth-client/{id}": (at(org=SIDE_ORG, id=lambda: WORLD.oauth_client(SIDE_ORG)), {}, None),
    "PUT /org/{org}/oauth-client/{id}": (at(org=SIDE_ORG, id=APP), {}, lambda: APP_CLIENT),
    "DELETE /org/{org}/oauth-client/{id}": (at(org=SIDE_ORG, id=lambda: WORLD.oauth_client(SIDE_ORG)), {}, None),
    "GET /admin/oauth-client/{id}": (at(id=lambda: WORLD.oauth_client(None)), {}, None),
    "PUT /admin/oauth-client/{id}": (at(id=APP), {}, lambda: APP_CLIENT),
    "DELETE /admin/oauth-client/{id}": (at(id=lambda: WORLD.oauth_client(None)), {}, None),
    "GET /org/{org}/webhook": (at(org=ORG), {}, None),
    "GET /org/{org}/webhook/{id}": (at(org=SIDE_ORG, id=lambda: WORLD.webhook(SIDE_ORG)), {}, None),
    "PUT /org/{org}/webhook/{id}": (at(org=SIDE_ORG, id="put"), {}, lambda: WEBHOOK),
    "DELETE /org/{org}/webhook/{id}": (at(org=SIDE_ORG, id=lambda: WORLD.webhook(SIDE_ORG)), {}, None),
    "POST /org/{org}/webhook/{id}/rotate": (at(org=SIDE_ORG, id=lambda: WORLD.webhook(SIDE_ORG)), {}, None),
    "GET /org/{org}/webhook/{id}/delivery": (at(org=SIDE_ORG, id=lambda: WORLD.webhook(SIDE_ORG)), {}, None),
    "POST /org/{org}/webhook/{id}/delivery/{delivery_id}/resend": (
        at(org=CONSENT_ORG, id="told", delivery_id=lambda: WORLD.delivery(CONSENT_ORG)), {}, None),
    "GET /admin/webhook": (at(), {}, None),
    "GET /admin/webhook/{id}": (at(id=lambda: WORLD.webhook(None)), {}, None),
    "PUT /admin/webhook/{id}": (at(id="put"), {}, lambda: WEBHOOK),
    "DELETE /admin/webhook/{id}": (at(id=lambda: WORLD.webhook(None)), {}, None),
    "POST /admin/webhook/{id}/rotate": (at(id=lambda: WORLD.webhook(None)), {}, None),
    "GET /admin/webhook/{id}/delivery": (at(id=lambda: WORLD.webhook(None)), {}, None),
    "POST /admin/webhook/{id}/delivery/{delivery_id}/resend": (
        at(id="told", delivery_id=lambda: WORLD.delivery(None)), {}, None),
    "GET /workspace/{org}/{ws}/settings/values": (HERE, {}, None),
    "PUT /workspace/{org}/{ws}/settings/values": (SIDE, {}, lambda: {"values": {"pipeline_id": "7"}}),
    "GET /workspace/{org}/{ws}/settings/connector": (HERE, {}, None),
    "GET /workspace/{org}/{ws}/settings/connector/{id}": (at(HERE, id=CONNECTOR), {}, None),
    "PUT /workspace/{org}/{ws}/settings/connector/{id}": (at(SIDE, id=CONNECTOR), {}, lambda: CREDENTIAL),
    "PATCH /workspace/{org}/{ws}/settings/connector/{id}": (at(SIDE, id=CONNECTOR), {}, lambda: CREDENTIAL),
    "GET /workspace/{org}/{ws}/settings/connector/{id}/form": (at(HERE, id=CONNECTOR), {}, None),
    "DELETE /workspace/{org}/{ws}/settings/connector/{id}": (at(SIDE, id=WORLD.connection), {}, None),
    "POST /workspace/{org}/{ws}/settings/connector/{id}/test": (at(SIDE, id=WORLD.connection), {}, None),
    "POST /workspace/{org}/{ws}/settings/connector/{id}/oauth/start": (at(SIDE, id=WORLD.consent), {}, None),
    "GET /workspace/{org}/{ws}/settings/connector/{id}/connection": (at(SIDE, id=CONNECTOR), {}, None),
    "GET /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}": (
        at(SIDE, id=CONNECTOR, name=WORLD.named), {}, None),
    "PUT /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}": (
        at(SIDE, id=CONNECTOR, name=NAMED), {}, lambda: {"label": "Sales", **CREDENTIAL}),
    "PATCH /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}": (
        at(SIDE, id=CONNECTOR, name=WORLD.named), {}, lambda: {"label": "Sales, north"}),
    "GET /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/form": (
        at(SIDE, id=CONNECTOR, name=NAMED), {}, None),
    "DELETE /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}": (
        at(SIDE, id=CONNECTOR, name=WORLD.named), {}, None),
    "POST /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/test": (
        at(SIDE, id=CONNECTOR, name=WORLD.named), {}, None),
    "POST /workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/oauth/start": (
        at(SIDE, id=CONSENT, name=WORLD.named_consent), {}, None),
    "GET /oauth/callback": (at(), {}, None),
    "GET /workspace/{org}/{ws}/connect-session": (SIDE, {}, None),
    "DELETE /workspace/{org}/{ws}/connect-session/{id}": (at(SIDE, id=WORLD.session), {}, None),
    "POST /workspace/{org}/{ws}/connect-session": (SIDE, {}, lambda: {"connector_id": CONNECTOR}),
    "GET /org/{org}/settings/connect": (at(org=ORG), {}, None),
    "PUT /org/{org}/settings/connect": (at(org=SIDE_ORG), {}, lambda: {"title": "Side"}),
    "GET /connect/{secret}": (at(secret="none"), {}, None),
    "POST /connect/{secret}/claim": (at(secret="none"), {}, None),
    "POST /connect/{secret}/save": (at(secret="none"), {}, None),
    "GET /connect/{secret}/consent": (at(secret="none"), {}, None),
    "GET /connect/{secret}/window/{ticket}": (at(secret="none", ticket="none"), {}, None),
    "POST /connect/{secret}/end": (at(secret="none"), {}, None),
    "GET /connect/{secret}/end": (at(secret="none"), {}, None),
    "POST /run/{org}/{ws}/connector/{id}/{action}": (
        at(HERE, id=CONNECTOR, action=ACTION), {"dry_run": "true"}, lambda: {"input": INPUT}),
    "POST /run/{org}/{ws}/automation/{id}": (
        at(HERE, id=WORLD.fired), {"dry_run": "true"}, lambda: {"source": INPUT}),
    "POST /run/{org}/{ws}/event": (
        HERE, {}, lambda: {"entity_name": "none", "event_name": WORLD.name("event"), "source": INPUT}),
    "POST /run/{org}/{ws}/{run_id}/cancel": (at(SIDE, run_id=WORLD.accepted), {}, None),
    "POST /run/{org}/{ws}/{run_id}/rerun": (
        at(SIDE, run_id=WORLD.cancelled), {}, lambda: {"definition": "same"}),
    "POST /org/{org}/run/redrive": (at(org=SIDE_ORG), {}, lambda: {"status": "dead"}),
    "GET /run/{org}/{ws}": (HERE, {}, None),
    "GET /org/{org}/run": (at(org=ORG), {}, None),
    "GET /org/{org}/run/feed": (at(org=ORG), {}, None),
    "GET /admin/run": (at(), {}, None),
    "GET /admin/breaker": (at(), {}, None),
    "POST /admin/backup": (at(), {}, None),
    "GET /admin/storage": (at(), {}, None),
    "GET /admin/key": (at(), {}, None),
    "POST /admin/key/rotate": (at(), {}, lambda: {"key_id": WORLD.current_key()}),
    "GET /run/{org}/{ws}/{run_id}": (at(HERE, run_id=WORLD.run), {}, None),
}
ROLES = {"admin": "platform", "org": "org", "workspace": "workspace", "run": "run", "metrics": "platform"}
# Only these may come with a generated path: it could name what the other routes need.
READS = {"GET"}

turns = collections.Counter()
answers = collections.defaultdict(collections.Counter)


def route(case):
    return f"{case.method.upper()} {case.operation.path}"


def token(path_parameters, path, turn):
    """The right role's token; sometimes another's, one that is none, or nothing."""
    role = ROLES.get(path.split("/")[1])
    if role is None or turn % 17 == 7:
        return None
    if turn % 19 == 11:
        return "pc_org_none"
    if turn % 13 == 5:
        role = list(TOKENS)[(turn // 13) % len(TOKENS)]
    return WORLD.tenants.get(path_parameters.get("org"), TOKENS)[role]


def made(value):
    return value() if callable(value) else value


@schemathesis.hook
def before_call(context, case, kwargs):
    plan = PLANS.get(route(case))
    if plan is None:
        return
    turn = turns[route(case)]
    turns[route(case)] += 1
    ids, query, body = plan
    generated = case.method.upper() in READS and turn % 4 == 3
    path_parameters = dict(case.path_parameters or {})
    if not generated:
        path_parameters = {name: made(value) for name, value in ids.items()}
        if path_parameters:
            case.path_parameters = path_parameters
    if turn % 4 == 0:
        case.query = dict(query)
        case.cookies = {}
        if case.operation.path == "/oauth/callback":
            case.query, case.cookies = WORLD.consented()
        if case.operation.path.startswith("/connect/"):
            case.path_parameters, case.query, case.cookies, form = WORLD.connect(route(case))
            if case.method.upper() == "POST":
                case.media_type, case.body = "application/x-www-form-urlencoded", form
        case.headers = {}
        if body is not None:
            case.media_type = case.media_type or "application/json"
            case.body = {**WORLD.entry, "connector_id": path_parameters["id"]} if body == "replacement" else body()
    if case.headers is None:
        case.headers = {}
    for name in [name for name in case.headers if name.lower() == "authorization"]:
        del case.headers[name]
    bearer = token(path_parameters, case.operation.path, turn)
    if bearer is not None:
        case.headers["Authorization"] = f"Bearer {bearer}"
    if case.operation.path.endswith("/stream") and not generated:
        WORLD.soon()


@schemathesis.hook
def after_call(context, case, response):
    if route(case) in PLANS:
        answers[route(case)][str(response.status_code)] += 1


@schemathesis.check
def unavailable_says_why(context, response, case):
    """A 503 of a call is the breaker's: the product itself always has room for one caller."""
    if response.status_code == 503 and route(case) in PLANS:
        code = response.json().get("code")
        assert code == "circuit_open", f"503 with code {code}"


@atexit.register
def tally():
    with open(os.environ["PORTCULLIS_TALLY"], "w", encoding="utf-8") as file:
        json.dump(answers, file, indent=1)
