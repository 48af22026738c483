//! The demo, step by step. Each step states the expected result and is checked before the next.

#![allow(clippy::indexing_slicing, reason = "indexing a JSON value gives null where there is nothing")]

use std::path::Path;

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::teller::Teller;
use portcullis_stand_in::{SALESFORCE, automation};

use super::{DEMO_KEY, Stage, verdict};

const SETTING: &str = "/workspace/acme/main/settings/connector/salesforce";

/// All answers of the server, for the scan at the end.
#[derive(Default)]
struct Heard(String);

impl Heard {
    fn hear(&mut self, answer: Answer) -> Answer {
        self.0.push_str(&answer.text);
        answer
    }
}

struct People {
    org: Client,
    workspace: Client,
    run: Client,
}

/// Runs all steps.
pub(super) async fn tell(stage: &Stage, teller: &mut Teller) -> Result<(), String> {
    let mut heard = Heard::default();
    upload(stage, teller, &mut heard).await?;
    let people = tenants(stage, teller).await?;
    connect(stage, &people, teller, &mut heard).await?;
    let fire = map(&people, teller, &mut heard).await?;
    happy_path(stage, &people, &fire, teller, &mut heard).await?;
    private_address(stage, &people, teller, &mut heard).await?;
    foreign_domain(stage, teller, &mut heard).await?;
    org_list(&people, &fire, teller, &mut heard).await?;
    kill_switch(stage, &people, &fire, teller, &mut heard).await?;
    opted_out(&people, &fire, teller, &mut heard).await?;
    accounts(stage, teller)?;
    ledger(&people, teller, &mut heard).await?;
    nowhere(stage, teller, &heard)
}

async fn upload(stage: &Stage, teller: &mut Teller, heard: &mut Heard) -> Result<(), String> {
    let answer = heard.hear(stage.platform.post("/admin/connector", SALESFORCE).await?);
    let detail = format!("POST /admin/connector → {}; allowed_domains *.salesforce.com", answer.status);
    teller.step("A platform admin uploads the Salesforce connector as JSON", answer.status == 201, &[detail])
}

async fn tenants(stage: &Stage, teller: &mut Teller) -> Result<People, String> {
    let platform = &stage.platform;
    let org = platform.post("/admin/org", r#"{"org":"acme"}"#).await?;
    let mut made = org.status == 201;
    for workspace in ["main", "quiet"] {
        let body = json!({ "workspace": workspace }).to_string();
        made &= platform.post("/admin/org/acme/workspace", &body).await?.status == 201;
    }
    let mut clients = Vec::new();
    for body in [
        json!({ "role": "org", "org": "acme" }),
        json!({ "role": "workspace", "org": "acme", "workspace": "main" }),
        json!({ "role": "run", "org": "acme" }),
    ] {
        let answer = platform.post("/admin/token", &body.to_string()).await?;
        clients.push(platform.with_token(answer.json["token"].as_str().unwrap_or_default()));
    }
    teller.step(
        "Org acme, workspaces main and quiet, one token for each tier",
        made,
        &["tokens are kept only as SHA-256".to_owned()],
    )?;
    let mut clients = clients.into_iter();
    match (clients.next(), clients.next(), clients.next()) {
        (Some(org), Some(workspace), Some(run)) => Ok(People { org, workspace, run }),
        _ => Err("no tokens".to_owned()),
    }
}

async fn connect(
    stage: &Stage,
    people: &People,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    let body = json!({ "enabled": true, "config": { "api_key": DEMO_KEY } });
    let answer = heard.hear(people.workspace.put(SETTING, &body).await?);
    let held = answer.json["state"] == "connected" && answer.json["fields"]["api_key"]["set"] == true;
    let sealed = stage.engine.vault().opens() == 0;
    let detail =
        "AES-256-GCM under a data key of its own; the answer shows that api_key is set, never its value";
    teller.step(
        "Workspace main saves its API key: sealed before it is stored",
        held && sealed,
        &[detail.to_owned()],
    )
}

async fn map(people: &People, teller: &mut Teller, heard: &mut Heard) -> Result<String, String> {
    let answer = heard.hear(people.org.post("/org/acme/automation", &automation().to_string()).await?);
    let id = answer.json["automation_id"].as_str().unwrap_or_default().to_owned();
    let detail = "contact.created → salesforce/create-contact, Email ← {{source.email}}".to_owned();
    teller.step("The org admin maps an automation", answer.status == 201, &[detail])?;
    Ok(format!("/automation/{id}"))
}

async fn fire(
    people: &People,
    workspace: &str,
    automation: &str,
    heard: &mut Heard,
) -> Result<Answer, String> {
    let body = json!({ "source": { "email": "ada@example.org" } }).to_string();
    Ok(heard.hear(people.run.post(&format!("/run/acme/{workspace}{automation}"), &body).await?))
}

async fn happy_path(
    stage: &Stage,
    people: &People,
    automation: &str,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    let answer = fire(people, "main", automation, heard).await?;
    let run = &answer.json;
    let usage = &run["usage"];
    let details = vec![
        format!("status {}, output {}", run["status"], run["output"]),
        format!("decisions: {}", checks(run)),
        format!(
            "guest {} µs, {} instructions, {} KiB peak",
            usage["guest_us"],
            usage["fuel"],
            usage["memory_peak_bytes"].as_u64().unwrap_or(0) / 1024
        ),
    ];
    teller.step(
        "The automation fires: a fresh WASM instance makes one guarded HTTPS call",
        run["status"] == "succeeded",
        &details,
    )?;
    let received = stage.upstream.received();
    let Some(request) = received.first() else {
        return Err("the stand-in received nothing".to_owned());
    };
    let held = received.len() == 1
        && request.authorization == format!("Bearer {DEMO_KEY}")
        && request.body == r#"{"Email":"ada@example.org"}"#;
    let tail: String = DEMO_KEY.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
    let details = [
        request.line.clone(),
        format!(
            "authorization: Bearer …{tail} (the workspace's key, added by the gate after the TLS handshake)"
        ),
        format!("body: {}", request.body),
    ];
    teller.step("The TLS stand-in for api.salesforce.com received it, with the key", held, &details)
}

fn checks(run: &Value) -> String {
    let decisions = run["decisions"].as_array().cloned().unwrap_or_default();
    let words: Vec<String> = decisions
        .iter()
        .map(|d| {
            let check = d["check"].as_str().unwrap_or_default();
            match d["verdict"].as_str() {
                Some("pass") => format!("{check} ✓"),
                _ => format!("{check} ✗"),
            }
        })
        .collect();
    words.join(", ")
}

fn refusal(answer: &Answer) -> Vec<String> {
    let run = &answer.json["run"];
    vec![
        format!(
            "{} {}: {}",
            answer.status,
            answer.json["code"].as_str().unwrap_or("?"),
            answer.json["title"].as_str().unwrap_or("")
        ),
        format!("decisions: {}", checks(run)),
    ]
}

async fn private_address(
    stage: &Stage,
    people: &People,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    let mut definition: Value = serde_json::from_str(SALESFORCE).map_err(|e| e.to_string())?;
    let mut probe = definition["actions"][0].clone();
    probe["action_id"] = json!("probe-intranet");
    probe["url_template"] = json!("https://intranet.salesforce.com/v1/contacts");
    if let Some(actions) = definition["actions"].as_array_mut() {
        actions.push(probe);
    }
    let put = heard.hear(stage.platform.put("/admin/connector/salesforce", &definition).await?);
    let body = json!({ "input": { "Email": "ada@example.org" } }).to_string();
    let answer =
        heard.hear(people.run.post("/run/acme/main/connector/salesforce/probe-intranet", &body).await?);
    let held = put.status == 200 && answer.json["code"] == "address_forbidden" && stage.upstream.dials() == 1;
    let mut details =
        vec!["intranet.salesforce.com is inside the allowed domains, but resolves to 10.0.0.5".to_owned()];
    details.extend(refusal(&answer));
    details.push("no socket was opened, no credential was opened".to_owned());
    teller.step(
        "A name that leads to a private address: refused",
        held && stage.engine.vault().opens() == 1,
        &details,
    )
}

async fn foreign_domain(stage: &Stage, teller: &mut Teller, heard: &mut Heard) -> Result<(), String> {
    let url = "https://collector.evil.example.net/steal";
    let mut definition: Value = serde_json::from_str(SALESFORCE).map_err(|e| e.to_string())?;
    definition["actions"][0]["url_template"] = json!(url);
    let answer = heard.hear(stage.platform.put("/admin/connector/salesforce", &definition).await?);
    let code = verdict(url);
    let refused =
        answer.status == 422 && answer.json["errors"][0]["code"] == "template_host_outside_allowed_domains";
    let details = [
        format!(
            "upload: {} at {}",
            answer.json["errors"][0]["code"].as_str().unwrap_or("?"),
            answer.json["pointer"].as_str().unwrap_or("?")
        ),
        format!("at the gate: {}", code.map_or("allowed", |c| c.as_str())),
    ];
    let held = refused && code.is_some_and(|c| c.as_str() == "host_not_in_connector");
    teller.step("A foreign domain: refused when uploaded, and by the gate itself", held, &details)
}

async fn org_list(
    people: &People,
    automation: &str,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    const PATH: &str = "/org/acme/settings/integrations";
    let narrow = json!({ "domain_allowlist": ["api.hubapi.com"], "mode": "enforce" });
    let set = heard.hear(people.org.put(PATH, &narrow).await?);
    let answer = fire(people, "main", automation, heard).await?;
    let wide = heard.hear(people.org.put(PATH, &json!({ "domain_allowlist": null })).await?);
    let held = set.status == 200 && wide.status == 200 && answer.json["code"] == "host_not_in_org";
    let mut details = vec!["the org allows api.hubapi.com only; both lists must pass".to_owned()];
    details.extend(refusal(&answer));
    teller.step("The org restricts its domains: refused", held, &details)
}

async fn kill_switch(
    stage: &Stage,
    people: &People,
    automation: &str,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    const PATH: &str = "/admin/connector/salesforce";
    let off = heard.hear(stage.platform.patch(PATH, &json!({ "enabled": false })).await?);
    let answer = fire(people, "main", automation, heard).await?;
    let on = heard.hear(stage.platform.patch(PATH, &json!({ "enabled": true })).await?);
    let held = off.status == 200 && on.status == 200 && answer.json["reason"] == "connector_disabled";
    teller.step("The kill switch: silently skipped", held && answer.status == 200, &[skip(&answer)])
}

fn skip(answer: &Answer) -> String {
    format!("{} status {}, reason {}", answer.status, answer.json["status"], answer.json["reason"])
}

async fn opted_out(
    people: &People,
    automation: &str,
    teller: &mut Teller,
    heard: &mut Heard,
) -> Result<(), String> {
    let out = heard.hear(people.workspace.put(SETTING, &json!({ "enabled": false })).await?);
    let answer = fire(people, "main", automation, heard).await?;
    let held = out.json["state"] == "opted_out" && answer.json["reason"] == "opted_out";
    teller.step("Workspace main opts out: silently skipped", held, &[skip(&answer)])?;
    let answer = fire(people, "quiet", automation, heard).await?;
    let held = answer.json["reason"] == "unconfigured";
    teller.step("Workspace quiet never saved anything: silently skipped", held, &[skip(&answer)])
}

fn accounts(stage: &Stage, teller: &mut Teller) -> Result<(), String> {
    let (opens, dials) = (stage.engine.vault().opens(), stage.upstream.dials());
    let details =
        [format!("credential opened {opens} time, sockets opened {dials}: the one call that was allowed")];
    teller.step("What was refused or skipped opened nothing", opens == 1 && dials == 1, &details)
}

async fn ledger(people: &People, teller: &mut Teller, heard: &mut Heard) -> Result<(), String> {
    let rows = heard.hear(people.org.get("/org/acme/outbound").await?);
    let verified = heard.hear(people.org.get("/org/acme/outbound/verify").await?);
    let entries = rows.json["data"].as_array().cloned().unwrap_or_default();
    let mut details: Vec<String> = entries
        .iter()
        .map(|e| {
            let text = |name: &str| e[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {}{} → {} {}",
                text("method"),
                text("origin"),
                text("path"),
                text("verdict"),
                e["code"].as_str().map_or_else(|| e["status"].to_string(), str::to_owned)
            )
        })
        .collect();
    details.push(format!("hash chain of {} records: intact", verified.json["records"]));
    let held = entries.len() == 3 && verified.json["intact"] == true;
    teller.step("Every attempt is in the org's ledger, and the chain verifies", held, &details)
}

fn nowhere(stage: &Stage, teller: &mut Teller, heard: &Heard) -> Result<(), String> {
    let mut files = 0_u32;
    let found = scan(stage.data_dir.path(), DEMO_KEY.as_bytes(), &mut files).map_err(|e| e.to_string())?;
    let in_answers = heard.0.contains(DEMO_KEY);
    let details =
        [format!("searched {files} files of the data directory and {} bytes of API answers", heard.0.len())];
    teller.step(
        "The key's plaintext is nowhere: not on disk, not in any answer",
        !found && !in_answers,
        &details,
    )
}

/// Whether any file below `dir` contains `needle`.
fn scan(dir: &Path, needle: &[u8], files: &mut u32) -> std::io::Result<bool> {
    let mut found = false;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found |= scan(&path, needle, files)?;
        } else {
            *files += 1;
            let bytes = std::fs::read(&path)?;
            found |= bytes.windows(needle.len()).any(|window| window == needle);
        }
    }
    Ok(found)
}
