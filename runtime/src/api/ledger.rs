//! `/org/{org}/outbound`: every connection the org ever tried to make.

use axum::body::Body;
use http::Response;
use portcullis_core::fault::Code;
use portcullis_store::{LedgerError, LedgerLine, LedgerQuery};
use serde_json::{Value, json};

use super::context::{Ctx, list, ok, with};
use crate::problem::Problem;

mod export;
mod stream_body;
mod tail;
mod usage;

pub(super) use tail::stream;
pub(super) use usage::usage;

fn document(line: &LedgerLine) -> Value {
    let mut value = json!(line.event);
    if let Some(map) = value.as_object_mut() {
        map.insert("seq".into(), json!(line.seq));
        map.insert("hash".into(), json!(line.hash));
    }
    value
}

fn query(ctx: &Ctx) -> Result<(LedgerQuery, usize), Problem> {
    let (limit, after) = ctx.page()?;
    let text = |name: &str| ctx.query(name).map(str::to_owned);
    let bad = |name: &str| Problem::new(Code::BadRequest, format!("{name} is not a value this filter takes"));
    let query = LedgerQuery {
        workspace: parse(ctx, "workspace")?,
        connector_id: parse(ctx, "connector_id")?,
        action_id: parse(ctx, "action_id")?,
        run_id: parse(ctx, "run_id")?,
        host: text("host"),
        verdict: parse(ctx, "verdict")?,
        code: text("code"),
        since: text("since"),
        until: text("until"),
        starting_after: after
            .map(|a| serde_json::from_value(json!(a)).map_err(|_| bad("starting_after")))
            .transpose()?,
        limit,
    };
    Ok((query, limit))
}

/// A filter that is an identifier or a word of a closed list.
fn parse<T: serde::de::DeserializeOwned>(ctx: &Ctx, name: &str) -> Result<Option<T>, Problem> {
    ctx.query(name)
        .map(|text| {
            serde_json::from_value(json!(text)).map_err(|_| {
                Problem::new(Code::BadRequest, format!("{name} is not a value this filter takes"))
            })
        })
        .transpose()
}

/// Lists attempts, newest first; or exports every record, oldest first, as NDJSON or CSV.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (query, limit) = query(&ctx)?;
    match ctx
        .header("accept")
        .map(|a| a.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase())
    {
        Some(media) if media == export::NDJSON => return Ok(export::ndjson(&ctx.app, org, query)),
        Some(media) if media == export::CSV => return Ok(export::csv(&ctx.app, org, query)),
        _ => {}
    }
    let page = match ctx.app.ledger.read(&org, &query).await {
        Ok(page) => page,
        Err(LedgerError::UnknownCursor) => {
            return Err(Problem::new(Code::BadRequest, "starting_after is not an entry of this ledger"));
        }
        Err(other) => return Err(other.into()),
    };
    let mut entries: Vec<Value> = page.entries.iter().map(document).collect();
    if page.has_more {
        // Why: `list` reads one entry too many as "there is more".
        entries.resize(limit + 1, Value::Null);
    }
    Ok(list(entries, limit))
}

/// Checks the hash chain.
pub(super) async fn verify(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let report = ctx.app.ledger.verify(&org).await?;
    Ok(ok(&with(json!(report), "intact", json!(report.is_intact()))))
}
