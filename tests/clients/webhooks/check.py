"""Deliveries of webhooks, verified by the library of Standard Webhooks.

    check.py NAME ADDRESS CA

NAME is the receiver's host at ADDRESS, whose certificate is of CA; it keeps what it was sent and tells it on GET.
"""

import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.request

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

NAME, ADDRESS, CA = sys.argv[1:]
URL = os.environ["PORTCULLIS_URL"]
TOKEN = os.environ["PORTCULLIS_ORG_TOKEN"]
PATH = "/verified"
PATIENCE_S = 30
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(method, path, body=None):
    request = urllib.request.Request(URL + path, method=method, headers={"authorization": f"Bearer {TOKEN}"})
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    with OPENER.open(request, data=data, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


class Receiver(http.client.HTTPSConnection):
    """A connection to the receiver by its address."""

    def connect(self):
        plain = socket.create_connection((ADDRESS, 443), timeout=30)
        self.sock = ssl.create_default_context(cafile=CA).wrap_socket(plain, server_hostname=NAME)


def received():
    connection = Receiver(NAME)
    connection.request("GET", "/")
    kept = json.loads(connection.getresponse().read())
    connection.close()
    return [one for one in kept if one["path"] == PATH]


def await_type(kind, count):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = [one for one in received() if json.loads(one["body"])["type"] == kind]
        if len(found) >= count:
            return found
        time.sleep(0.1)
    sys.exit(f"no {count} deliveries of {kind}")


def verify(one, secret):
    return Webhook(secret).verify(one["body"], one["headers"])


def main():
    wish = {"url": f"https://{NAME}{PATH}", "events": ["policy.changed"]}
    first = ask("PUT", "/org/acme/webhook/verified", wish)["secret"]
    ping = verify(await_type("webhook.ping", 1)[0], first)
    assert ping["data"] == {"webhook": "verified"}, ping
    ask("PUT", "/org/acme/settings/integrations", {"domain_allowlist": None})
    told = await_type("policy.changed", 1)[0]
    assert verify(told, first)["data"]["org"] == "acme"
    changed = {**told, "body": told["body"].replace("acme", "amce")}
    for wrong, secret in ((changed, first), (told, "whsec_" + "A" * 43 + "=")):
        try:
            verify(wrong, secret)
        except WebhookVerificationError:
            continue
        sys.exit("a delivery was verified that must not be")
    second = ask("POST", "/org/acme/webhook/verified/rotate")["secret"]
    ask("PUT", "/org/acme/settings/integrations", {"domain_allowlist": None})
    told = await_type("policy.changed", 2)[1]
    for secret in (first, second):
        verify(told, secret)
    ask("DELETE", "/org/acme/webhook/verified")
    print("4 deliveries verified, 2 refused, both secrets of a rotation count")


main()
