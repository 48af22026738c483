#!/usr/bin/env python3
"""Checks how a received HTTP request is authenticated, with implementations that are not ours.

Reads one JSON document on standard input:

    {"method": "POST", "url": "https://host/path?query", "headers": [["name", "value"], ...],
     "body_base64": "...", "secrets": {...}}

and prints {"ok": true} or {"ok": false, "why": "..."}. Exit code 0 in both cases; 2 when the input
is not such a document or a library is missing. What `secrets` holds depends on the subcommand; see
`auth_check.py <subcommand> --help`. Needs: botocore (sigv4), oauthlib (oauth1), PyJWT and
cryptography (jwt).
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
from datetime import datetime, timezone
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

FORM = "application/x-www-form-urlencoded"


class Refused(Exception):
    """The request is not authenticated as it should be; the text says why."""


class Received:
    """The request as it came in."""

    def __init__(self, document):
        self.method = document["method"]
        self.url = document["url"]
        self.parts = urlsplit(self.url)
        self.headers = [(name.lower(), value) for name, value in document["headers"]]
        self.body = base64.b64decode(document.get("body_base64") or "", validate=True)
        self.secrets = document["secrets"]

    def header(self, name):
        """The one value of a header."""
        values = [value for found, value in self.headers if found == name.lower()]
        if name.lower() == "host" and not values:
            return self.parts.netloc
        if len(values) != 1:
            raise Refused(f"header {name} is there {len(values)} times")
        return values[0]

    def has(self, name):
        return any(found == name.lower() for found, _ in self.headers)

    def is_form(self):
        return self.has("content-type") and self.header("content-type").split(";")[0].strip().lower() == FORM

    def path(self):
        return self.parts.path or "/"


def expect(what, found, wanted):
    """Refuses unless equal; compares in constant time only because it costs nothing."""
    if not hmac.compare_digest(str(found).encode(), str(wanted).encode()):
        raise Refused(f"{what}: found {found!r}, wanted {wanted!r}")


def expect_recent(what, seconds, secrets):
    limit = secrets.get("max_age_s")
    if limit is None:
        return
    age = datetime.now(timezone.utc).timestamp() - seconds
    if abs(age) > limit:
        raise Refused(f"{what} is {age:.0f} s off")


def parameters(text, what):
    """`name=value` and `name="value"` pairs after a scheme."""
    pairs = {}
    for piece in re.split(r",\s*", text):
        name, equals, value = piece.partition("=")
        if not equals or name in pairs:
            raise Refused(f"{what}: {piece!r} is not a parameter of its own")
        pairs[name] = value.strip('"')
    return pairs


def sigv4(received):
    """secrets: access_key, secret_key, service, region; optional session_token, unsigned_payload (false),
    double_encode_path (true unless the service is s3), max_age_s."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    secrets = received.secrets
    service, region = secrets["service"], secrets["region"]
    scheme, _, rest = received.header("authorization").partition(" ")
    expect("scheme", scheme, "AWS4-HMAC-SHA256")
    given = parameters(rest, "authorization")
    date = received.header("x-amz-date")
    scope = f"{secrets['access_key']}/{date[:8]}/{region}/{service}/aws4_request"
    expect("credential", given.get("Credential"), scope)
    signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    expect_recent("x-amz-date", signed_at.timestamp(), secrets)

    names = {name for name, _ in received.headers}
    must = {name for name in names if name.startswith("x-amz-") or name == "content-type"} | {"host"}
    expect("signed headers", given.get("SignedHeaders"), ";".join(sorted(must)))
    hashed = hashlib.sha256(received.body).hexdigest()
    wanted = "UNSIGNED-PAYLOAD" if secrets.get("unsigned_payload") else hashed
    expect("x-amz-content-sha256", received.header("x-amz-content-sha256"), wanted)
    token = secrets.get("session_token")
    if token is not None or received.has("x-amz-security-token"):
        expect("x-amz-security-token", received.header("x-amz-security-token"), token)

    double = secrets.get("double_encode_path", service != "s3")
    # botocore is given what it makes itself: the query in AWS's encoding, and for S3 the path too.
    pairs = parse_qsl(received.parts.query, keep_blank_values=True)
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    path = received.path() if double else quote(received.path(), safe="/~%")
    url = urlunsplit(("https", received.parts.netloc, path, query, ""))
    request = AWSRequest(received.method, url, data=received.body)
    for name, value in received.headers:
        if name in must:
            request.headers.add_header(name, value)
    if not received.has("host"):
        request.headers.add_header("host", received.parts.netloc)
    request.context["timestamp"] = date
    credentials = Credentials(secrets["access_key"], secrets["secret_key"], token)
    signer = (SigV4Auth if double else S3SigV4Auth)(credentials, service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    expect("signature", given.get("Signature"), signer.signature(text, request))


def oauth1(received):
    """secrets: consumer_key, consumer_secret; optional token, token_secret, realm, signature_method
    (HMAC-SHA1), max_age_s."""
    from oauthlib.common import Request
    from oauthlib.oauth1.rfc5849 import signature

    secrets = received.secrets
    scheme, _, rest = received.header("authorization").partition(" ")
    expect("scheme", scheme, "OAuth")
    given = parameters(rest, "authorization")
    method = secrets.get("signature_method", "HMAC-SHA1")
    for name, wanted in [
        ("realm", secrets.get("realm")),
        ("oauth_consumer_key", secrets["consumer_key"]),
        ("oauth_token", secrets.get("token")),
        ("oauth_signature_method", method),
        ("oauth_version", "1.0"),
    ]:
        expect(name, unquote(given[name]) if name in given else None, wanted)
    for name in ["oauth_nonce", "oauth_timestamp", "oauth_signature"]:
        if not given.get(name):
            raise Refused(f"{name} is not there")
    expect_recent("oauth_timestamp", int(given["oauth_timestamp"]), secrets)

    body = received.body.decode() if received.is_form() else None
    headers = {"Authorization": received.header("authorization")}
    request = Request(received.url, received.method, body, headers)
    request.params = signature.collect_parameters(
        uri_query=received.parts.query, body=request.decoded_body or [], headers=request.headers
    )
    request.signature = unquote(given["oauth_signature"])
    verify = {"HMAC-SHA1": signature.verify_hmac_sha1, "HMAC-SHA256": signature.verify_hmac_sha256}[method]
    if not verify(request, secrets["consumer_secret"], secrets.get("token_secret", "")):
        raise Refused("signature: does not verify")


def jwt(received):
    """secrets: key (public PEM, or the shared secret), alg; optional claims (expected members), jose_header
    (expected members), header (authorization), prefix ("Bearer "), verify_time (true)."""
    import jwt as pyjwt

    secrets = received.secrets
    value = received.header(secrets.get("header", "authorization"))
    prefix = secrets.get("prefix", "Bearer ")
    if not value.startswith(prefix):
        raise Refused(f"the header does not begin with {prefix!r}")
    token = value[len(prefix):]
    times = secrets.get("verify_time", True)
    options = {"verify_aud": False, "verify_iss": False}
    options |= {f"verify_{name}": times for name in ["exp", "nbf", "iat"]}
    try:
        claims = pyjwt.decode(token, secrets["key"], algorithms=[secrets["alg"]], options=options)
        header = pyjwt.get_unverified_header(token)
    except pyjwt.PyJWTError as error:
        raise Refused(f"token: {type(error).__name__}: {error}") from error
    for what, found, wanted in [("claim", claims, "claims"), ("JOSE header", header, "jose_header")]:
        for name, value in secrets.get(wanted, {}).items():
            if name not in found or found[name] != value:
                raise Refused(f"{what} {name}: found {found.get(name)!r}, wanted {value!r}")


def hmac_parts(received):
    """The string to sign, component by component."""
    secrets = received.secrets
    timestamp = received.header(secrets["timestamp_header"]) if secrets.get("timestamp_header") else ""
    nonce = received.header(secrets["nonce_header"]) if secrets.get("nonce_header") else ""
    query = received.parts.query
    known = {
        "method": received.method.encode(),
        "path": received.path().encode(),
        "query": query.encode(),
        "path_and_query": (received.path() + ("?" + query if "?" in received.url else "")).encode(),
        "body": received.body,
        "body_sha256": hashlib.sha256(received.body).hexdigest().encode(),
        "timestamp": timestamp.encode(),
        "nonce": nonce.encode(),
    }
    for component in secrets["string_to_sign"]:
        if component in known:
            yield known[component]
        elif component.startswith("header:"):
            yield received.header(component.removeprefix("header:")).encode()
        elif len(component) >= 2 and component[0] == component[-1] == "'":
            yield component[1:-1].encode()
        else:
            raise KeyError(f"unknown component {component!r}")


def check_timestamp(received):
    secrets = received.secrets
    if not secrets.get("timestamp_header"):
        return
    text = received.header(secrets["timestamp_header"])
    form = secrets.get("timestamp_format", "epoch_s")
    pattern = {
        "epoch_s": r"\d{10}",
        "epoch_ms": r"\d{13}",
        "iso8601": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    }[form]
    if not re.fullmatch(pattern, text):
        raise Refused(f"timestamp {text!r} is not {form}")
    if form == "iso8601":
        seconds = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    else:
        seconds = int(text) / (1000 if form == "epoch_ms" else 1)
    expect_recent("timestamp", seconds, secrets)


def hmac_check(received):
    """secrets: key, alg (sha1|sha256|sha512), encoding (hex|base64), string_to_sign (method, path, query,
    path_and_query, body, body_sha256, timestamp, nonce, header:<name>, 'literal'), signature_header; optional
    format ("{signature}", also {timestamp} and {nonce}), timestamp_header, timestamp_format (epoch_s),
    nonce_header, max_age_s."""
    secrets = received.secrets
    check_timestamp(received)
    if secrets.get("nonce_header") and not received.header(secrets["nonce_header"]):
        raise Refused("the nonce is empty")
    mac = hmac.new(secrets["key"].encode(), b"".join(hmac_parts(received)), secrets["alg"]).digest()
    signature = mac.hex() if secrets.get("encoding", "hex") == "hex" else base64.b64encode(mac).decode()
    wanted = secrets.get("format", "{signature}").replace("{signature}", signature)
    for name in ["timestamp", "nonce"]:
        if secrets.get(f"{name}_header"):
            wanted = wanted.replace("{" + name + "}", received.header(secrets[f"{name}_header"]))
    expect("signature", received.header(secrets["signature_header"]), wanted)


def basic(received):
    """secrets: username, password."""
    scheme, _, text = received.header("authorization").partition(" ")
    expect("scheme", scheme, "Basic")
    try:
        found = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused(f"not base64 of UTF-8: {error}") from error
    expect("user name and password", found, f"{received.secrets['username']}:{received.secrets['password']}")


def bearer(received):
    """secrets: token."""
    expect("authorization", received.header("authorization"), f"Bearer {received.secrets['token']}")


CHECKS = {"sigv4": sigv4, "oauth1": oauth1, "jwt": jwt, "hmac": hmac_check, "basic": basic, "bearer": bearer}


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    subcommands = parser.add_subparsers(dest="check", required=True)
    for name, check in CHECKS.items():
        subcommands.add_parser(name, help=f"checks {name}", description=check.__doc__)
    arguments = parser.parse_args()
    try:
        received = Received(json.load(sys.stdin))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return unusable(error)
    try:
        CHECKS[arguments.check](received)
        verdict = {"ok": True}
    except Refused as refused:
        verdict = {"ok": False, "why": str(refused)}
    except ValueError as error:
        verdict = {"ok": False, "why": f"malformed: {error}"}
    except (ImportError, KeyError) as error:
        return unusable(error)
    print(json.dumps(verdict))
    return 0


def unusable(error):
    print(f"auth_check: {type(error).__name__}: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
