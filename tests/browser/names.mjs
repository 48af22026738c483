// Who is who: every name is a site of its own, so that the browser treats each as a third party to the others.

export const PUBLIC = "connect.product-example.com"; // the product, as people reach it
export const LOGIN = "login.vendor-example.com"; // the authorization server
export const API = "api.vendor-example.com"; // the vendor's API, which checks its tokens
export const SITE = "app.integrator-example.net"; // the site that embeds the product
export const STRANGE = "app.stranger-example.org"; // a site that may not embed it
export const GOOD = "good.hosting-example.com"; // a host of an honest tenant of a vendor, with a token endpoint
export const HOSTILE = "evil.hosting-example.com"; // a host of a tenant that wants the client's secret
export const COOKIES = "cookies.other-example.com"; // shows what the browser does with cookies in frames
export const OUTSIDE = "93.184.216.34"; // the address of all but the product
export const INSIDE = "93.184.216.1"; // the address of the product
export const CONTROL = 8000; // port where the story tells the vendor what to do, without TLS
export const CLIENT_ID = "client-of-the-integrator";
export const SECRETS = ["canary-first-8f21c05de97b4a63", "canary-second-47d0b2a9f1c8e635"];
export const OWN_CLIENT = "client-of-one-workspace";
export const OWN_SECRET = "canary-own-b93e60d7125fa84c";
export const ORG_CLIENT = "client-of-one-org";
export const ORG_SECRET = "canary-org-1f7ac5e9082bd364";
export const KEY = "key-9c41e7a2d05b83f6"; // what the vendor takes where a person pastes a key
