//! SIGKILL at random moments while runs are accepted and executed: each run that was accepted comes to its end, none is
//! carried out twice, and each end is delivered to a webhook. The shipped binary, and an upstream that tells each request
//! with the key that it got.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::namespaces::Namespaces;
use super::stage::{DOMAIN, Plan, Stage, public};
use crate::support::figures::{Random, count, print_line, seed};

/// What a caller asks for before the process is killed.
const ASKED: usize = 24;
/// The longest answer of the upstream.
const PAUSE_MS: u64 = 40;
/// How long the runs have for their ends once nothing is killed any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the webhook's receiver is: at the same host as the vendor.
const HOOKS: &str = "/hooks";

/// How an action's vendor takes a request that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It does no harm: a PUT.
    Idempotent,
    /// It knows it by its key: a POST.
    Keyed,
    /// It does it again: a POST.
    Without,
}

/// A run that was answered with 202.
struct Accepted {
    run: String,
    kind: Kind,
    /// What its request says, which no other's does.
    mark: String,
}

fn plan() -> Plan {
    let action = |id: &str, method: &str, more: Value| {
        let mut action = json!({
            "action_id": id, "http_method": method, "url_template": format!("https://api.{DOMAIN}/v1/{id}"),
            "body_schema": [{ "name": "mark", "required": true }],
        });
        crate::support::lay(&mut action, &more);
        action
    };
    let key = json!({ "idempotency": { "in": "header", "name": "Idempotency-Key" } });
    let mut plan = Plan::new(vec![("api", public())]);
    plan.actions = Some(json!([
        action("idempotent", "PUT", json!({})),
        action("keyed", "POST", key),
        action("without", "POST", json!({})),
    ]));
    plan.pause_ms = PAUSE_MS;
    // Why so short: a run that was cut off is taken up again when its lease ends.
    plan.environment.push(("PORTCULLIS_LIMITS_JOB_LEASE_MS", "2000".to_owned()));
    plan
}

impl Kind {
    const ALL: [Self; 3] = [Self::Idempotent, Self::Keyed, Self::Without];

    const fn action(self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Keyed => "keyed",
            Self::Without => "without",
        }
    }

    fn of(action: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.action() == action).unwrap()
    }
}

/// An automation of the event for each kind, and one more whose vendor knows the key.
fn bind(stage: &mut Stage) {
    for (name, kind) in
        [("a", Kind::Idempotent), ("b", Kind::Keyed), ("c", Kind::Keyed), ("d", Kind::Without)]
    {
        let automation = json!({
            "entity_name": "contact", "event_name": "contact.created",
            "destination_config": {
                "connector_id": "saas", "action_id": kind.action(),
                "field_mapping": { "mark": format!("{{{{source.n}}}}-{name}") },
            },
        });
        stage.as_org("POST", "/org/acme/automation", &automation, 201);
    }
}

/// Saves a webhook of the org for the ends of accepted runs.
fn hook(stage: &mut Stage) {
    let wish = json!({
        "url": format!("https://api.{DOMAIN}{HOOKS}"), "events": ["run.succeeded", "run.failed", "run.dead"],
    });
    stage.as_org("PUT", "/org/acme/webhook/one", &wish, 201);
}

/// The runs whose ends were delivered, and the number of deliveries.
fn told(stage: &mut Stage) -> (BTreeSet<String>, usize) {
    let mut deliveries = stage.seen("request");
    deliveries.retain(|request| request["target"] == HOOKS);
    let run = |request: &Value| {
        let body: Value = serde_json::from_str(request["body"].as_str()?).ok()?;
        body["data"]["run_id"].as_str().map(str::to_owned)
    };
    (deliveries.iter().filter_map(run).collect(), deliveries.len())
}

/// Waits until each end was delivered; returns the runs whose ends were not, and the number of deliveries.
fn untold(stage: &mut Stage, ends: &BTreeMap<String, Value>) -> (Vec<String>, usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (told, deliveries) = told(stage);
        let untold: Vec<String> = ends.keys().filter(|run| !told.contains(*run)).cloned().collect();
        if untold.is_empty() || Instant::now() > until {
            return (untold, deliveries);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Asks for the next run, or for an event with four of them.
fn ask(stage: &mut Stage, n: usize) {
    if n.is_multiple_of(4) {
        let event = json!({
            "event_id": format!("event-{n}"), "entity_name": "contact", "event_name": "contact.created",
            "source": { "n": n.to_string() },
        });
        return stage.ask_later("/run/acme/main/event", &event);
    }
    let kind = Kind::ALL[n % 4 - 1];
    let path = format!("/run/acme/main/connector/saas/{}", kind.action());
    stage.ask_later(&path, &json!({ "input": { "mark": n.to_string() } }));
}

/// The runs of an answer to what was asked as number `n`.
fn accepted(n: usize, answer: &Value) -> Vec<Accepted> {
    let Some(runs) = answer["data"].as_array() else {
        let kind = Kind::ALL[n % 4 - 1];
        let run = answer["run_id"].as_str().unwrap().to_owned();
        return vec![Accepted { run, kind, mark: n.to_string() }];
    };
    assert_eq!(runs.len(), 4, "{answer}");
    // Which automation is which is known by the request alone; the mark is filled in then.
    let of = |run: &Value| Accepted {
        run: run["run_id"].as_str().unwrap().to_owned(),
        kind: Kind::of(run["action_id"].as_str().unwrap()),
        mark: format!("{n}-"),
    };
    runs.iter().map(of).collect()
}

/// Kills the process again and again until so many runs are accepted; returns them, the kills, and how much of what was
/// asked had another answer.
fn killed_until(stage: &mut Stage, plan: &Plan, runs: usize, seed: u64) -> (Vec<Accepted>, usize, usize) {
    let (mut all, mut kills, mut refused, mut next) = (Vec::new(), 0, 0, 0);
    let mut random = Random(seed);
    while all.len() < runs {
        assert!(kills < 20 + 4 * runs, "seed {seed}: only {} of {runs} runs were accepted", all.len());
        for n in next..next + ASKED {
            ask(stage, n);
        }
        std::thread::sleep(Duration::from_millis(10 + random.below(240) as u64));
        stage.kill();
        kills += 1;
        for n in next..next + ASKED {
            let Some((status, answer)) = stage.heard() else { continue };
            if status == 202 {
                all.extend(accepted(n, &answer));
            } else {
                // A machine that is busy: it was told so, and nothing was promised.
                assert!(matches!(status, 429 | 503), "{status} {answer}");
                refused += 1;
            }
        }
        next += ASKED;
        stage.restart(plan);
    }
    (all, kills, refused)
}

/// Requests by what they say: the keys that came with them, in order.
type Received = BTreeMap<(Kind, String), Vec<String>>;

fn received(stage: &mut Stage) -> Received {
    let mut received = Received::new();
    for request in stage.seen("request").iter().filter(|request| request["target"] != HOOKS) {
        let kind = Kind::of(request["target"].as_str().unwrap().trim_start_matches("/v1/"));
        let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
        let key = request["headers"]["idempotency-key"][0].as_str().unwrap_or_default().to_owned();
        received.entry((kind, body["mark"].as_str().unwrap().to_owned())).or_default().push(key);
    }
    received
}

/// The ends of runs: each id with its document; those that have none when the time is over are lost.
fn ends(stage: &mut Stage, all: &[Accepted]) -> BTreeMap<String, Value> {
    let until = Instant::now() + PATIENCE;
    let mut ends = BTreeMap::new();
    for one in all {
        while Instant::now() < until {
            let path = format!("/run/acme/main/{}?wait=10", one.run);
            let end = stage.as_org("GET", &path, &Value::Null, 200);
            if end["created_at"].is_string() {
                ends.insert(one.run.clone(), end);
                break;
            }
        }
    }
    ends
}

/// What became of the runs of one kind.
fn judge(kind: Kind, all: &[Accepted], ends: &BTreeMap<String, Value>, received: &Received) -> Value {
    // What is lost is told apart.
    let ended = |one: &&Accepted| one.kind == kind && ends.contains_key(&one.run);
    let mine: Vec<_> = all.iter().filter(ended).collect();
    let end = |one: &&Accepted, member: &str| {
        ends.get(&one.run).and_then(|end| end[member].as_str()).unwrap_or("none").to_owned()
    };
    let with = |status: &str| mine.iter().filter(|one| end(one, "status") == status).count();
    let given_up: Vec<_> = mine.iter().filter(|one| end(one, "status") == "dead").collect();
    assert!(given_up.iter().all(|one| end(one, "reason") == "interrupted"), "{kind:?}");
    assert!(kind == Kind::Without || given_up.is_empty(), "{kind:?}: only where a repeat may do harm");
    assert_eq!(with("succeeded") + given_up.len(), mine.len(), "{kind:?}: nothing else ends so");
    for one in mine.iter().filter(|one| end(one, "status") == "succeeded" && !one.mark.ends_with('-')) {
        assert!(received.contains_key(&(kind, one.mark.clone())), "{} succeeded and was not sent", one.run);
    }
    let of_kind: Vec<_> = received.iter().filter(|((of, _), _)| *of == kind).collect();
    let sent: usize = of_kind.iter().map(|(_, keys)| keys.len()).sum();
    // As the vendor sees it: which requests are one to it.
    let executions = |keys: &Vec<String>| match kind {
        Kind::Idempotent => 1,
        Kind::Keyed => keys.iter().collect::<BTreeSet<_>>().len(),
        Kind::Without => keys.len(),
    };
    let twice = of_kind.iter().filter(|(_, keys)| executions(keys) > 1).count();
    assert_eq!(twice, 0, "{kind:?}: executed twice");
    json!({
        "runs": mine.len(), "succeeded": with("succeeded"), "interrupted": given_up.len(),
        "marks": of_kind.len(), "requests": sent, "came_again": sent - of_kind.len(), "executed_twice": twice,
    })
}

#[test]
fn runs_that_were_accepted_come_to_their_end_once_whenever_the_process_is_killed() {
    let Some(net) = Namespaces::make() else { return };
    let (runs, seed) = (count("PORTCULLIS_KILL_RUNS", 100), seed());
    print_line("kill -9 in accepted runs", &json!({ "seed": seed, "runs": runs }));
    let plan = plan();
    let mut stage = Stage::set(net, &plan);
    bind(&mut stage);
    hook(&mut stage);
    let (all, kills, refused) = killed_until(&mut stage, &plan, runs, seed);
    let ends = ends(&mut stage, &all);
    let received = received(&mut stage);
    let lost: Vec<_> = all.iter().filter(|one| !ends.contains_key(&one.run)).map(|one| &one.run).collect();
    let (untold, deliveries) = untold(&mut stage, &ends);
    let mut line = json!({
        "seed": seed, "kills": kills, "accepted": all.len(), "refused": refused, "lost": lost.len(),
        "webhook_untold": untold.len(), "webhook_deliveries": deliveries,
    });
    for kind in Kind::ALL {
        line[kind.action()] = judge(kind, &all, &ends, &received);
    }
    print_line("kill -9 in accepted runs", &line);
    assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    assert!(untold.is_empty(), "seed {seed}: the ends of {untold:?} were not delivered");
    let keyed = received.iter().filter(|((kind, _), _)| *kind == Kind::Keyed);
    let mut keys: Vec<_> = keyed.map(|(_, keys)| keys[0].clone()).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "no two runs have one key");
    let verified = stage.as_org("GET", "/org/acme/outbound/verify", &Value::Null, 200);
    assert_eq!(verified["intact"], true, "{verified}");
}
