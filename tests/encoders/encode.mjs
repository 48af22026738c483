// Writes texts as Node.js encodes them; see encode.py for what is read and answered.
import { readFileSync } from "node:fs";
import querystring from "node:querystring";
import util from "node:util";

function* encoded(secret) {
  const raw = Buffer.from(secret);
  const inner = (text) => JSON.stringify(text).slice(1, -1);
  yield ["JSON.stringify", "json", inner(secret)];
  yield ["JSON.stringify twice", "json", inner(JSON.stringify({ k: secret }))];
  yield ["JSON.stringify of a buffer", "text", JSON.stringify(raw)];
  yield ["encodeURIComponent", "text", encodeURIComponent(secret)];
  yield ["encodeURIComponent twice", "text", encodeURIComponent(encodeURIComponent(secret))];
  yield ["encodeURIComponent of JSON", "text", encodeURIComponent(JSON.stringify({ k: secret }))];
  yield ["encodeURI", "text", encodeURI(secret)];
  yield ["escape", "text", escape(secret)];
  yield ["querystring", "text", querystring.stringify({ k: secret })];
  yield ["URLSearchParams", "text", new URLSearchParams({ k: secret }).toString()];
  yield ["base64", "text", raw.toString("base64")];
  yield ["base64url", "text", raw.toString("base64url")];
  yield ["base64 of Basic", "text", `Basic ${Buffer.from(`user:${secret}`).toString("base64")}`];
  yield ["btoa of JSON", "text", Buffer.from(JSON.stringify({ token: secret })).toString("base64")];
  yield ["hex", "text", raw.toString("hex")];
  yield ["util.inspect", "text", util.inspect(secret)];
  yield ["util.inspect of an object", "text", util.inspect({ k: { secret } })];
  yield ["util.inspect of a buffer", "text", util.inspect(raw)];
  yield ["utf16le", "text", [...secret].join("\0") + "\0"];
}

const secrets = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(secrets.map((secret) => [...encoded(secret)])));
