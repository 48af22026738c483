"""Reads /metrics with the parsers of prometheus_client while calls are made, and compares its sums with the runs and the
ledger that the API lists afterwards.

    check.py N

Makes N calls of every end that a caller can wait for, and accepted runs that are cancelled. PORTCULLIS_URL and
PORTCULLIS_PLATFORM_TOKEN say where; it makes orgs and a connector of its own. Exit code 1 if anything disagrees.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

URL = urllib.parse.urlsplit(os.environ["PORTCULLIS_URL"])
PLATFORM = os.environ["PORTCULLIS_PLATFORM_TOKEN"]
TAG = f"m{os.getpid()}"
CONNECTOR = f"{TAG}-crm"
CALLERS = 8
SCRAPERS = 3
# Counted in the background of a call that has been answered: the closing records of the ledger.
SETTLE_S = 30
# A server may close a connection that is idle; one that was for so long is not used again.
IDLE_S = 10
DEFINITION = {
    "connector_id": CONNECTOR,
    "display_name": "Counted",
    "auth_type": "api_key",
    "auth_schema": {"fields": [{"name": "api_key", "type": "password", "required": True}]},
    "allowed_domains": ["api.notion.com"],
    "enabled": True,
    "actions": [
        {
            "action_id": "act",
            "http_method": "POST",
            "url_template": "https://api.notion.com/v1/act",
            "body_schema": [{"name": "note", "required": True}],
        }
    ],
}

own = threading.local()


def send(method, path, token, body=None, **headers):
    """One request on this thread's connection; status and text."""
    if not hasattr(own, "connection") or time.monotonic() - own.used > IDLE_S:
        own.connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=60)
    fields = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
    data = None
    if body is not None:
        fields["content-type"] = "application/json"
        data = json.dumps(body)
    try:
        own.connection.request(method, path, body=data, headers=fields)
        answer = own.connection.getresponse()
        text = answer.read().decode()
        own.used = time.monotonic()
        return answer.status, text
    except (OSError, http.client.HTTPException):
        own.connection.close()
        del own.connection
        raise


def ask(method, path, token, body=None, accept=(200, 201, 202, 204), **headers):
    status, text = send(method, path, token, body, **headers)
    if status not in accept:
        raise SystemExit(f"{method} {path} answers {status}: {text}")
    return json.loads(text) if text.startswith(("{", "[")) else text


class Tenant:
    """An org with a workspace that is connected and one that is not."""

    def __init__(self, org, hosts):
        self.org = org
        ask("POST", "/admin/org", PLATFORM, {"org": org})
        for workspace in ("main", "side"):
            ask("POST", f"/admin/org/{org}/workspace", PLATFORM, {"workspace": workspace})
        self.admin = self.token("org")
        self.run = self.token("run")
        path = f"/workspace/{org}/main/settings/connector/{CONNECTOR}"
        saved = {"enabled": True, "config": {"api_key": "a-key-that-is-in-no-figure"}}
        ask("PUT", path, self.token("workspace", workspace="main"), saved)
        listed = {"domain_allowlist": hosts, "mode": "enforce"}
        ask("PUT", f"/org/{org}/settings/integrations", self.admin, listed)

    def token(self, role, **scope):
        return ask("POST", "/admin/token", PLATFORM, {"role": role, "org": self.org, **scope})["token"]

    def call(self, workspace):
        path = f"/run/{self.org}/{workspace}/connector/{CONNECTOR}/act"
        status, text = send("POST", path, self.run, {"input": {"note": "n"}})
        if status in (429, 503):
            return None
        return json.loads(text)

    def accept_and_cancel(self):
        path = f"/run/{self.org}/main/connector/{CONNECTOR}/act"
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        body = {"input": {"note": "n"}, "not_before": later}
        run = ask("POST", path, self.run, body, prefer="respond-async")["run_id"]
        return ask("POST", f"/run/{self.org}/main/{run}/cancel", self.run)

    def runs(self):
        found, after = [], ""
        while True:
            page = ask("GET", f"/org/{self.org}/run?limit=100{after}", self.admin)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = f"&starting_after={page['next']}"

    def ledger(self):
        status, text = send("GET", f"/org/{self.org}/outbound", self.admin, accept="application/x-ndjson")
        if status != 200:
            raise SystemExit(f"the ledger of {self.org} answers {status}")
        return collections.Counter(json.loads(line)["event"]["phase"] for line in text.splitlines())


def scrape(reading=families, accept="text/plain"):
    """All samples: (name, labels) → value; every family was parsed."""
    status, text = send("GET", "/metrics", PLATFORM, accept=accept)
    if status != 200:
        raise SystemExit(f"/metrics answers {status}: {text}")
    samples = {}
    for family in reading(text):
        if family.type in ("unknown", "untyped"):
            raise SystemExit(f"{family.name} has no type")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in samples:
                raise SystemExit(f"{key} is there twice")
            samples[key] = sample.value
    return samples


def total(samples, name, **labels):
    wanted = set(labels.items())
    return sum(value for (of, its), value in samples.items() if of == name and wanted <= set(its))


def scrape_all_the_time(stop):
    """Scrapes until it is told to stop; counters only grow. How many scrapes there were."""
    before, count = {}, 0
    while not stop.is_set():
        now = scrape()
        for key, value in before.items():
            if key[0].endswith(("_total", "_count", "_bucket")) and now.get(key, -1) < value:
                raise SystemExit(f"{key} fell from {value} to {now.get(key)}")
        before, count = now, count + 1
    return count


def ends(runs):
    return collections.Counter((run["status"], run.get("code") or run.get("reason") or "") for run in runs)


def agrees(before, tenants):
    """What disagrees, a line each."""
    now, wrong = scrape(), []
    runs = [run for tenant in tenants for run in tenant.runs()]
    for (status, code), wanted in ends(runs).items():
        found = total(now, "portcullis_calls_total", connector=CONNECTOR, outcome=status, code=code)
        if found != wanted:
            wrong.append(f"{status} {code}: {found} counted, {wanted} runs")
    found = total(now, "portcullis_calls_total", connector=CONNECTOR)
    if found != len(runs):
        wrong.append(f"{found} calls counted, {len(runs)} runs")

    def grown(name, **labels):
        return total(now, name, **labels) - total(before, name, **labels)

    if grown("portcullis_runs_recorded_total") != len(runs):
        wrong.append(f"{grown('portcullis_runs_recorded_total')} records counted, {len(runs)} runs")
    records = sum((tenant.ledger() for tenant in tenants), collections.Counter())
    for phase in ("begin", "complete", "refused"):
        found = grown("portcullis_ledger_records_total", phase=phase)
        if found != records[phase]:
            wrong.append(f"{phase}: {found} counted, {records[phase]} records")
    return wrong, len(runs), sum(records.values()), ends(runs)


def main():
    wanted = int(sys.argv[1])
    ask("POST", "/admin/connector", PLATFORM, DEFINITION)
    free, closed = Tenant(f"{TAG}-free", ["api.notion.com"]), Tenant(f"{TAG}-closed", [])
    before = scrape()
    stop, began = threading.Event(), time.monotonic()

    def call(number):
        tenant, workspace = ((free, "main"), (closed, "main"), (free, "main"), (free, "side"))[number % 4]
        while tenant.call(workspace) is None:
            time.sleep(0.05)
        if number % 50 == 0:
            free.accept_and_cancel()

    with concurrent.futures.ThreadPoolExecutor(SCRAPERS) as scraping:
        scrapers = [scraping.submit(scrape_all_the_time, stop) for _ in range(SCRAPERS)]
        try:
            with concurrent.futures.ThreadPoolExecutor(CALLERS) as calling:
                list(calling.map(call, range(wanted)))
        finally:
            stop.set()
        scrapes = sum(scraper.result() for scraper in scrapers)
    took = time.monotonic() - began
    until = time.monotonic() + SETTLE_S
    wrong, runs, records, by_end = agrees(before, [free, closed])
    while wrong and time.monotonic() < until:
        time.sleep(1)
        wrong, runs, records, by_end = agrees(before, [free, closed])
    if not any(name == "portcullis_calls_total" for name, _ in scrape(open_families, "application/openmetrics-text")):
        wrong.append("OpenMetrics has no calls")
    print(f"{runs} runs and {records} ledger records in {took:.1f} s, {scrapes} scrapes meanwhile", flush=True)
    for (status, code), count in sorted(by_end.items()):
        print(f"  {status} {code}: {count}", flush=True)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
