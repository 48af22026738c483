"""Writes texts as Python's standard library encodes them.

Reads a JSON array of texts; answers with an array of arrays of [name, kind, encoded]. The kind is "json" for what
stands between the quotes of a JSON string as it is, else "text".
"""

import base64
import binascii
import codecs
import html
import json
import quopri
import shlex
import sys
import urllib.parse
import xml.sax.saxutils

import textwrap


def encoded(secret):
    raw = secret.encode()
    wrapped = base64.encodebytes(b"user:" + raw + b" and enough after it to fill more than one line of text").decode()
    yield "json.dumps", "json", json.dumps(secret)[1:-1]
    yield "json.dumps, not ASCII", "json", json.dumps(secret, ensure_ascii=False)[1:-1]
    yield "json.dumps twice", "json", json.dumps(json.dumps(secret))[1:-1]
    yield "json.dumps three times", "json", json.dumps(json.dumps(json.dumps(secret)))[1:-1]
    yield "quote", "text", urllib.parse.quote(secret)
    yield "quote of everything", "text", urllib.parse.quote(secret, safe="")
    yield "quote twice", "text", urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe="")
    yield "quote_plus", "text", urllib.parse.quote_plus(secret)
    yield "urlencode", "text", urllib.parse.urlencode({"client_secret": secret, "x": 1})
    yield "urlencode of JSON", "text", urllib.parse.urlencode({"d": json.dumps({"k": secret})})
    yield "html.escape", "text", html.escape(secret)
    yield "html.escape twice", "text", html.escape(html.escape(secret))
    yield "xmlcharrefreplace", "text", html.escape(secret).encode("ascii", "xmlcharrefreplace").decode()
    yield "saxutils.escape", "text", xml.sax.saxutils.escape(secret)
    yield "saxutils.quoteattr", "text", xml.sax.saxutils.quoteattr(secret)
    yield "CDATA", "text", "<![CDATA[" + secret.replace("]]>", "]]]]><![CDATA[>") + "]]>"
    yield "b64encode", "text", base64.b64encode(raw).decode()
    yield "urlsafe_b64encode", "text", base64.urlsafe_b64encode(raw).decode()
    for before in ("u", "us", "use"):
        yield "b64encode after " + before, "text", base64.b64encode(before.encode() + raw + b"z").decode()
    yield "b64encode of JSON", "text", base64.b64encode(json.dumps({"client_secret": secret}).encode()).decode()
    yield "b64encode twice", "text", base64.b64encode(base64.b64encode(b"user:" + raw)).decode()
    yield "b64encode of UTF-16", "text", base64.b64encode(("user:" + secret).encode("utf-16-le")).decode()
    yield "encodebytes", "text", wrapped
    yield "encodebytes, CRLF", "text", wrapped.replace("\n", "\r\n")
    yield "encodebytes, indented", "text", wrapped.replace("\n", "\n    ")
    yield "base64 in lines of 64", "text", "\n".join(textwrap.wrap(wrapped.replace("\n", ""), 64))
    yield "hex", "text", raw.hex()
    yield "HEX", "text", raw.hex().upper()
    yield "hex with colons", "text", raw.hex(":")
    yield "HEX with spaces", "text", raw.hex(" ").upper()
    yield "hexlify with dashes", "text", binascii.hexlify(raw, "-").decode()
    yield "quopri", "text", quopri.encodestring(b"a line that is long enough to be broken somewhere: " + raw).decode()
    yield "quopri of tabs", "text", quopri.encodestring(raw, quotetabs=True).decode()
    yield "repr", "text", repr(secret)
    yield "repr of bytes", "text", repr(raw)
    yield "ascii", "text", ascii(secret)
    yield "unicode_escape", "text", codecs.encode(secret, "unicode_escape").decode()
    yield "shlex.quote", "text", shlex.quote(secret)
    yield "repr of a list of numbers", "text", repr(list(raw))


json.dump([list(encoded(secret)) for secret in json.load(sys.stdin)], sys.stdout)
