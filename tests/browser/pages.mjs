// The pages of the vendor and of the sites beside it.

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

export const page = (title, content) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>${content}</html>`;

const cancel = `<button name="answer" value="cancel" formnovalidate>Cancel</button>`;

export const signIn = () => page("Vendor: sign in", `<h1>Sign in</h1><form method="post">
  <label>Email <input name="email" type="email" required></label>
  <button name="answer" value="yes">Sign in</button>${cancel}</form>`);

export const allow = (client, scope, account) => page("Vendor: allow access", `<h1>Allow access</h1>
  <p>${escape(client)} wants ${escape(scope)} of ${escape(account)}.</p>
  <form method="post"><button name="answer" value="yes">Allow</button>${cancel}</form>`);

/** A site that has another page in a frame. */
export const embed = (url) => page("A site", `<h1>Settings of a site</h1>
  <iframe title="Connect" width="800" height="700" src="${escape(url.searchParams.get("link"))}"></iframe>`);

/** Where the integrator gets people back. */
export const returned = (url) => page("Back", `<h1>Back at the site</h1><p>${escape(url.search)}</p>`);

/** Sets a third party's cookie of each kind when it is in a frame, and shows which of them come back. */
export function cookies(request, response, url) {
  if (url.pathname === "/set") {
    const common = "Path=/; Secure; HttpOnly; SameSite=None";
    response.setHeader("set-cookie", [`common=1; ${common}`, `parted=1; ${common}; Partitioned`]);
    response.writeHead(302, { location: "/show" });
    return response.end();
  }
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  return response.end(page("Cookies", `<p>cookies: ${escape(request.headers.cookie ?? "none")}.</p>`));
}
