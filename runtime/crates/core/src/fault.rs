//! Whose fault an error is, and the closed list of codes that says so to callers.
//!
//! One code stands for one reason everywhere: in a problem document, in a refused run, in the
//! ledger and in `portcullis codes`. The HTTP status is a property of the code, so there is one
//! mapping and it is here as data.

use std::fmt;

use serde::{Serialize, Serializer};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request was wrong; nothing ran.
    Caller,
    /// A check of the gate refused.
    Policy,
    /// The guest trapped, looped or returned invalid output.
    Guest,
    /// The network or the third party failed.
    Upstream,
    /// Portcullis itself failed.
    Internal,
}

impl Fault {
    /// The name used as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Guest => "guest",
            Self::Upstream => "upstream",
            Self::Internal => "internal",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal $status:literal $fault:ident $title:literal;)*) => {
        /// The closed list of codes. Append; never rename: tools match on the text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable snake_case text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault),* }
            }

            /// One sentence for a person.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    BadJson "bad_json" 400 Caller "The body is not JSON.";
    DuplicateMember "duplicate_member" 400 Caller "A JSON object has a member twice.";
    BadRequest "bad_request" 400 Caller "The request is malformed.";
    UnknownParameter "unknown_parameter" 400 Caller "The query has a parameter that this route does not take.";
    Unauthorized "unauthorized" 401 Caller "A valid token is required.";
    RoleNotAllowed "role_not_allowed" 403 Caller "This token's role may not use this route.";
    NotGranted "not_granted" 403 Caller "This token may not call that.";
    NotFound "not_found" 404 Caller "There is no such thing here.";
    ConnectorNotFound "connector_not_found" 404 Caller "There is no connector of that id.";
    ActionNotFound "action_not_found" 404 Caller "The connector has no action of that id.";
    OrgNotFound "org_not_found" 404 Caller "There is no such org.";
    WorkspaceNotFound "workspace_not_found" 404 Caller "There is no such workspace in this org.";
    AutomationNotFound "automation_not_found" 404 Caller "There is no automation of that id in this org.";
    MethodNotAllowed "method_not_allowed" 405 Caller "This route does not take that method.";
    RequestTimeout "request_timeout" 408 Caller "The request's body did not come in time.";
    AlreadyExists "already_exists" 409 Caller "That id is taken.";
    LastPlatformToken "last_platform_token" 409 Caller "It is the last platform token that is alive.";
    InUse "in_use" 409 Caller "Something still uses it.";
    IdempotencyInFlight "idempotency_in_flight" 409 Caller "The same request is still being worked on; ask again later.";
    CapabilityWidened "capability_widened" 409 Caller "The connector's module would be able to do more than before; a person must accept that.";
    CredentialNeedsAttention "credential_needs_attention" 409 Caller "The connection cannot be used as it is; a person must look at it.";
    RevisionMismatch "revision_mismatch" 412 Caller "The record has changed since it was read.";
    BodyTooLarge "body_too_large" 413 Caller "The body is larger than the limit.";
    UnsupportedMediaType "unsupported_media_type" 415 Caller "The body's content type is not accepted here.";
    ValidationFailed "validation_failed" 422 Caller "The document breaks a rule; every breach is listed.";
    ModuleRefused "module_refused" 422 Caller "The module is not one that this installation takes; its report says why and what to do.";
    InputInvalid "input_invalid" 422 Caller "The action's input breaks a rule; every breach is listed.";
    ConsentInvalid "consent_invalid" 400 Caller "The consent cannot be finished.";
    RateLimited "rate_limited" 429 Caller "The connection's own request budget is used up for now.";
    WorkspaceBusy "workspace_busy" 429 Caller "The workspace has as many calls running as it may.";
    UrlInvalid "url_invalid" 403 Policy "The URL is not one the gate reads.";
    SchemeNotHttps "scheme_not_https" 403 Policy "Only https may leave.";
    UserinfoPresent "userinfo_present" 403 Policy "A URL with user information may not leave.";
    IpLiteral "ip_literal" 403 Policy "An IP address may not stand for a host.";
    PortNotAllowed "port_not_allowed" 403 Policy "The port is not one the definition lists.";
    HostNotInConnector "host_not_in_connector" 403 Policy "The host is not in the connector's allowed domains.";
    HostNotInOrg "host_not_in_org" 403 Policy "The host is not in the org's allowlist.";
    ConnectorNotAllowed "connector_not_allowed" 403 Policy "The org does not use this connector.";
    ActionNotAllowed "action_not_allowed" 403 Policy "A rule of the org blocks this action.";
    PathNotGranted "path_not_granted" 403 Policy "The request is not the one this action was granted.";
    MethodForbidden "method_forbidden" 403 Policy "The method is not the one this action was granted.";
    HeaderForbidden "header_forbidden" 403 Policy "The header belongs to the host.";
    QueryForbidden "query_forbidden" 403 Policy "The query pair is where the credential goes.";
    BodyForbidden "body_forbidden" 403 Policy "The body cannot take the credential.";
    AddressForbidden "address_forbidden" 403 Policy "The name resolves to an address that may not be reached.";
    RedirectForbidden "redirect_forbidden" 403 Policy "The redirect may not be followed.";
    CredentialNotBound "credential_not_bound" 403 Policy "The credential is not bound to this origin.";
    CredentialMissing "credential_missing" 403 Policy "The credential slot does not exist.";
    ModuleForbidden "module_forbidden" 403 Policy "The connector's module needs a profile that the platform does not allow.";
    ConnectorDisabled "connector_disabled" 403 Policy "The connector was switched off while the call ran.";
    CallEnded "call_ended" 403 Policy "The call was ended from outside while it ran.";
    RequestTooLarge "request_too_large" 413 Policy "The outbound request is larger than the limit.";
    CallsExceeded "calls_exceeded" 429 Policy "The call made more requests than it was granted.";
    DnsFailed "dns_failed" 502 Upstream "The host's name could not be resolved.";
    ConnectFailed "connect_failed" 502 Upstream "No connection could be made.";
    TlsFailed "tls_failed" 502 Upstream "The TLS handshake failed.";
    UpstreamProtocol "upstream_protocol" 502 Upstream "The upstream did not speak HTTP as it should.";
    UpstreamStatus "upstream_status" 502 Upstream "The upstream answered with an error.";
    ResponseUnreadable "response_unreadable" 502 Upstream "The upstream's answer is not what the action reads.";
    PaginationFailed "pagination_failed" 502 Upstream "The upstream's list cannot be followed.";
    PollFailed "poll_failed" 502 Upstream "The upstream's work failed, or cannot be asked for again.";
    PollTimeout "poll_timeout" 504 Upstream "The upstream's work is not finished; it may go on.";
    ResponseTooLarge "response_too_large" 502 Upstream "The upstream's answer passed a limit.";
    ResponseTruncated "response_truncated" 502 Upstream "The upstream's answer may be cut off.";
    UpstreamTimeout "upstream_timeout" 504 Upstream "The upstream did not answer in time.";
    GuestTrapped "guest_trapped" 502 Guest "The guest trapped.";
    GuestTimeout "guest_timeout" 504 Guest "The guest used up its time.";
    GuestFailed "guest_failed" 502 Guest "The guest ended with a failure of its own.";
    GuestOutputInvalid "guest_output_invalid" 500 Guest "The guest's output is not the document it owes.";
    Internal "internal" 500 Internal "Something failed inside; the request id finds it in the log.";
    LedgerUnavailable "ledger_unavailable" 503 Internal "The outbound ledger cannot be written, so nothing may leave.";
    StoreUnavailable "store_unavailable" 503 Internal "The store cannot be read or written.";
    Overloaded "overloaded" 503 Internal "Too many calls are running; try again soon.";
    IdempotencyKeyReused "idempotency_key_reused" 422 Caller "The idempotency key was used for another request.";
    InputNotKept "input_not_kept" 409 Caller "The run's input is not kept, so it cannot be run again.";
    CircuitOpen "circuit_open" 503 Upstream "The third party failed again and again, so it is not asked for a while.";
    DefinitionChanged "definition_changed" 409 Caller "The definition has changed, so the run cannot be made as it was.";
    OrgBusy "org_busy" 429 Caller "The org has as many calls running as it may.";
    OrgRateLimited "org_rate_limited" 429 Caller "The org has made as many calls within a minute as it may.";
    OrgStorageFull "org_storage_full" 429 Caller "What is stored for the org has as many bytes as it may; no further run is accepted.";
    ReturnUrlNotAllowed "return_url_not_allowed" 422 Caller "The return URL is not one that the org has listed.";
    TokenHostChosenByTenant "token_host_chosen_by_tenant" 422 Caller "The workspace chooses the token endpoint's host, so a shared OAuth client needs a list of the hosts it may go to.";
    BackupNotConfigured "backup_not_configured" 403 Caller "Backups do not leave by the API here: no key is configured that would seal them.";
    KeyNotEverywhere "key_not_everywhere" 409 Caller "Not every node has the master key, so it cannot be promoted yet.";
    KeyUnavailable "key_unavailable" 503 Internal "A master key, or the service that has it, cannot be reached by this node.";
}

impl Code {
    /// The code with that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl schemars::JsonSchema for Code {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let codes: Vec<&str> = Self::ALL.iter().map(|code| code.as_str()).collect();
        schemars::json_schema!({ "type": "string", "enum": codes })
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_snake_case_and_parse_back() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} twice");
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
            assert_eq!(Code::parse(text), Some(*code));
            assert!((400..600).contains(&code.status()), "{text}");
        }
    }

    #[test]
    fn the_schema_lists_what_is_written() {
        let written: Vec<_> = Code::ALL.iter().map(|code| serde_json::to_value(code).unwrap()).collect();
        assert_eq!(schemars::schema_for!(Code).get("enum"), Some(&written.into()));
    }
}
