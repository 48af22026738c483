//! The text of a record, written directly because a call writes two of them.
//!
//! It is exactly what `serde_json` makes of the same record; the tests compare both.

use crate::json::{push_number, push_plain, push_text};

use super::{LedgerEvent, LedgerPhase, LedgerVerdict, PhaseDurations};

/// Enough for the text of an ordinary record.
const ORDINARY_BYTES: usize = 1024;

impl LedgerEvent {
    /// The record as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Destructured, so that a field which is not written does not compile.
        let Self {
            entry_id,
            at,
            phase,
            org,
            workspace,
            connector_id,
            connection,
            revision,
            action_id,
            run_id,
            automation_id,
            method,
            origin,
            path,
            verdict,
            code,
            matched_connector,
            matched_org,
            would_refuse,
            addresses,
            chosen_address,
            tls_version,
            status,
            bytes_out,
            bytes_in,
            durations,
            credential_slot,
            credential_version,
            redacted,
        } = self;
        let mut json = Json(String::with_capacity(ORDINARY_BYTES));
        json.plain("{\"entry_id\":", entry_id.as_str());
        json.text(",\"at\":", at);
        json.plain(",\"phase\":", phase_word(*phase));
        json.plain(",\"org\":", org.as_str());
        json.plain(",\"workspace\":", workspace.as_str());
        json.plain(",\"connector_id\":", connector_id.as_str());
        if let Some(connection) = connection {
            json.plain(",\"connection\":", connection.as_str());
        }
        json.number(",\"revision\":", *revision);
        json.plain(",\"action_id\":", action_id.as_str());
        json.plain(",\"run_id\":", run_id.as_str());
        if let Some(automation_id) = automation_id {
            json.plain(",\"automation_id\":", automation_id.as_str());
        }
        json.text(",\"method\":", method);
        json.text(",\"origin\":", origin);
        json.text(",\"path\":", path);
        json.plain(",\"verdict\":", verdict_word(*verdict));
        json.optional_text(",\"code\":", code.as_deref());
        json.optional_text(",\"matched_connector\":", matched_connector.as_deref());
        json.optional_text(",\"matched_org\":", matched_org.as_deref());
        if *would_refuse {
            json.0.push_str(",\"would_refuse\":true");
        }
        json.list(",\"addresses\":", addresses);
        json.optional_text(",\"chosen_address\":", chosen_address.as_deref());
        json.optional_text(",\"tls_version\":", tls_version.as_deref());
        json.optional_number(",\"status\":", status.map(u64::from));
        json.number(",\"bytes_out\":", *bytes_out);
        json.number(",\"bytes_in\":", *bytes_in);
        json.durations(",\"durations\":{", durations);
        json.optional_text(",\"credential_slot\":", credential_slot.as_deref());
        json.optional_number(",\"credential_version\":", *credential_version);
        json.0.push_str(if *redacted { ",\"redacted\":true}" } else { ",\"redacted\":false}" });
        json.0
    }
}

/// The name that serde gives it, here and below.
const fn phase_word(phase: LedgerPhase) -> &'static str {
    match phase {
        LedgerPhase::Begin => "begin",
        LedgerPhase::Complete => "complete",
        LedgerPhase::Refused => "refused",
    }
}

const fn verdict_word(verdict: LedgerVerdict) -> &'static str {
    match verdict {
        LedgerVerdict::Allow => "allow",
        LedgerVerdict::Refuse => "refuse",
        LedgerVerdict::Error => "error",
    }
}

/// A text being written. A key is passed with the punctuation before it.
struct Json(String);

impl Json {
    /// A text without characters to escape: a fixed word, or an identifier.
    fn plain(&mut self, key: &str, text: &str) {
        self.0.push_str(key);
        push_plain(text, &mut self.0);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.0.push_str(key);
        push_text(text, &mut self.0);
    }

    fn optional_text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn list(&mut self, key: &str, texts: &[String]) {
        let Some((first, others)) = texts.split_first() else { return };
        self.0.push_str(key);
        self.text("[", first);
        for text in others {
            self.text(",", text);
        }
        self.0.push(']');
    }

    fn number(&mut self, key: &str, number: u64) {
        self.0.push_str(key);
        push_number(number, &mut self.0);
    }

    fn optional_number(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    fn durations(&mut self, key: &str, durations: &PhaseDurations) {
        let PhaseDurations { dns_us, connect_us, tls_us, first_byte_us, total_us } = durations;
        self.0.push_str(key);
        let empty = self.0.len();
        for (name, value) in [
            (",\"dns_us\":", dns_us),
            (",\"connect_us\":", connect_us),
            (",\"tls_us\":", tls_us),
            (",\"first_byte_us\":", first_byte_us),
            (",\"total_us\":", total_us),
        ] {
            let name = if self.0.len() == empty { name.trim_start_matches(',') } else { name };
            self.optional_number(name, *value);
        }
        self.0.push('}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event(fields: &Value) -> LedgerEvent {
        let mut event = json!({
            "entry_id": "out_1", "at": "2026-07-01T00:00:00.000000Z", "phase": "begin", "org": "acme",
            "workspace": "main", "connector_id": "crm", "revision": 3, "action_id": "chat.postMessage",
            "run_id": "run_1", "method": "POST", "origin": "https://api.example.com", "path": "/v1",
            "verdict": "allow"
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    fn is_the_same(fields: &Value) {
        let event = event(fields);
        assert_eq!(event.to_json(), serde_json::to_string(&event).unwrap());
        crate::structure::assert_written(&event);
    }

    #[test]
    fn a_record_is_written_as_serde_writes_it() {
        is_the_same(&json!({}));
        for phase in ["begin", "complete", "refused"] {
            for verdict in ["allow", "refuse", "error"] {
                is_the_same(&json!({ "phase": phase, "verdict": verdict }));
            }
        }
        is_the_same(&json!({
            "connection": "sales", "automation_id": "auto_1", "code": "tls_failed", "matched_connector": "*.example.com",
            "matched_org": "api.example.com", "would_refuse": true, "addresses": ["192.0.2.1", "2001:db8::1"],
            "chosen_address": "192.0.2.1", "tls_version": "TLSv1.3", "status": 201, "bytes_out": u64::MAX,
            "bytes_in": 10, "credential_slot": "default", "credential_version": 0, "redacted": true,
            "durations": { "dns_us": 0, "connect_us": 9, "tls_us": 10, "first_byte_us": 99, "total_us": 100 }
        }));
        is_the_same(&json!({ "durations": { "tls_us": 1 }, "addresses": ["a\"b"] }));
        is_the_same(&json!({ "durations": { "total_us": 1 } }));
    }

    proptest! {
        #[test]
        fn any_text_and_number_is_written_as_serde_writes_it(
            path in any::<String>(),
            origin in "[\\x00-\\x7f]{0,20}",
            slot in prop::option::of(any::<String>()),
            addresses in prop::collection::vec(any::<String>(), 0..3),
            bytes in any::<u64>(),
            status in prop::option::of(any::<u16>()),
            total in prop::option::of(any::<u64>()),
        ) {
            is_the_same(&json!({
                "path": path, "origin": origin, "credential_slot": slot, "addresses": addresses,
                "bytes_in": bytes, "status": status, "durations": { "total_us": total },
            }));
        }
    }
}
