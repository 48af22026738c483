//! Every limit, with its number and its reason.
//!
//! A limit has a default and a ceiling. Configuration (`limits.<name>`) may move it between 1 and
//! the ceiling; a definition or a guest may only lower it further. The documentation's table is
//! printed from this file.

use portcullis_action::budget::RENDERED_BYTES;
use portcullis_action::compile::CompileLimits;

macro_rules! limits {
    ($($name:ident = $default:expr, max $max:expr, $unit:literal, $reason:literal;)*) => {
        /// The limits in force.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = concat!($reason, " Unit: ", $unit, ".")] pub $name: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// One row of the table.
        #[derive(Debug, Clone, Copy)]
        pub struct LimitRow {
            /// Name, also the configuration key after `limits.`.
            pub name: &'static str,
            pub default: u64,
            /// Highest value that configuration may set.
            pub max: u64,
            pub unit: &'static str,
            /// The reason for this number.
            pub reason: &'static str,
        }

        /// The table, in the order of this file.
        pub const TABLE: &[LimitRow] = &[$(LimitRow {
            name: stringify!($name), default: $default, max: $max, unit: $unit, reason: $reason,
        }),*];

        impl Limits {
            /// Sets a limit by name.
            ///
            /// # Errors
            /// A sentence naming the limit and its range, or the unknown name.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        const MAX: u64 = $max;
                        if value == 0 || value > MAX {
                            return Err(format!(
                                "limits.{name} is {value}; it must be 1 to {MAX} {}", $unit));
                        }
                        self.$name = value;
                    })*
                    _ => return Err(format!("limits.{name} is not a limit")),
                }
                Ok(())
            }

            /// Every limit in force by its name, in the order of this file.
            #[must_use]
            pub fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        $(const _: () = {
            let (default, max): (u64, u64) = ($default, $max);
            assert!(default >= 1 && default <= max, stringify!($name));
        };)*
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

limits! {
    api_body_bytes = 8 * MIB, max 16 * MIB, "bytes", "An API request's body; a whole API description or a file of a few MiB fits.";
    json_levels = 100, max 120, "levels", "Arrays and objects within each other in JSON from outside. What is kept stands inside a record, and a record is read up to 127 levels.";
    definition_bytes = 4 * MIB, max 6 * MIB, "bytes", "A connector definition; the largest public API imported whole is below 2 MiB.";
    actions_per_connector = 2000, max 5000, "actions", "Actions of one connector; the largest public API imported whole has 1,200.";
    fields_per_form = 64, max 256, "fields", "Credential and config fields of one connector.";
    inputs_per_action = 200, max 1000, "inputs", "Inputs of one action.";
    query_pairs = 256, max 1000, "pairs", "Query pairs of one action with default_query; no more fit a URL of 8 KiB.";
    output_members = 500, max 2000, "members", "Members of one action's response.map; each is looked up in every answer.";
    inherited_bytes = 32 * MIB, max 256 * MIB, "bytes", "What all actions of a definition take from its defaults, error rules and the like, counted once for each action and authentication method: each has a copy.";
    definition_check_bytes = 32 * MIB, max 256 * MIB, "bytes", "What checking one definition may make: its examples rendered and judged. Four times as much may be read and matched; together about a second.";
    tables = 50, max 500, "tables", "Tables of one definition or automation, for the lookup filter.";
    table_entries = 1000, max 10_000, "entries", "Entries of one table; the lists of countries, currencies and time zones fit.";
    patterns = 5000, max 20_000, "patterns", "Different regular expressions of one definition or automation; each is compiled once, when it is saved or loaded.";
    pattern_bytes = 8 * MIB, max 64 * MIB, "bytes", "Compiled regular expressions of one definition together, kept while it is in use; an automation may have an eighth.";
    predicates = 256, max 2000, "predicates", "Predicates of one condition, those inside others included; each is evaluated for every event or answer.";
    automation_bytes = MIB, max 4 * MIB, "bytes", "An automation; a mapping of 200 inputs with 5 KiB of text each fits.";
    sample_bytes = 64 * KIB, max 256 * KIB, "bytes", "An automation's sample: one event fits, and it is kept with the automation.";
    samples_per_change = 200, max 5000, "samples", "Samples that replacing a connector runs through the automations that use it: a second or two.";
    automations_per_event = 100, max 128, "automations", "Automations that one event fires: what came of them fits one record, which is kept for repeats of the event.";
    schedules = 200, max 5000, "schedules", "Automations of an org with a schedule, those that are switched off included: each minute, each may make a run in every workspace.";
    schedule_workspaces = 100, max 1000, "workspaces", "Workspaces that one schedule names; each is looked up when it is saved. One for all of an org names none.";
    schedule_grace_ms = 60_000, max 3_600_000, "ms", "How late a time of a schedule fires as if nothing had been; a later one was missed. A process that is started again is back within it.";
    event_calls = 8, max 64, "calls", "Calls of one event at once, as far as the workspace may have more calls; the others follow.";
    event_answer_bytes = 32 * MIB, max 512 * MIB, "bytes", "Outputs in the answer to one event together, of which each may be as long: they are held until the last call has ended. Of further runs what is kept of them is told.";
    event_source_bytes = 64 * MIB, max 1024 * MIB, "bytes", "What the runs of one event that are executed later keep of its source together: each has a copy with its input. A source of 640 KiB for 100 automations, or the largest for eight.";
    order_key_bytes = 1024, max 8 * KIB, "bytes", "The key that order_by makes of an event: any identifier fits. Its hash is kept, not the key.";
    event_ids = 20_000, max 1_000_000, "events", "Events of one workspace that are remembered so that a repeat is recognized; each takes up to a few KiB. The oldest are forgotten first.";
    event_wait_ms = 10_000, max 60_000, "ms", "How long a repeat of an event waits for the first delivery to end.";
    rendered_bytes = 8 * MIB, max 64 * MIB, "bytes", "What templates, filters and bodies may make for one request or one mapping, intermediate texts included: no request is larger, and a guest has twice as much memory. Four times as much may be read.";
    matching_steps = 50_000_000, max 1_000_000_000, "steps", "Evaluating one condition, or the patterns of one call's input: a step for each value and byte looked at, and for a pattern its size times the text's. About half a second.";
    allowed_domains = 64, max 256, "entries", "Every entry is compared on every request.";
    org_allowlist = 1000, max 10_000, "entries", "Every entry is compared on every request.";
    org_connectors = 1000, max 10_000, "entries", "Connectors that an org lists; more than an installation offers.";
    org_action_rules = 100, max 1000, "rules", "Rules of an org; all may be compared for every call.";
    org_rule_entries = 100, max 1000, "entries", "Connectors or actions that one rule of an org names; each may be compared for every call.";
    token_grants = 200, max 5000, "entries", "Connectors, actions or automations that one token is limited to; each may be compared for every call.";
    oauth_token_hosts = 20, max 100, "entries", "Hosts of token endpoints that one shared OAuth client lists; a vendor has a few.";
    oauth_scopes = 100, max 500, "scopes", "Scopes that one shared OAuth client asks for; with more, the URL of the consent would not fit.";
    secret_field_bytes = 16 * KIB, max 32 * KIB, "bytes", "One credential field; a PEM key or a service-account file fits.";
    url_bytes = 8 * KIB, max 16 * KIB, "bytes", "An outbound URL; common servers refuse longer ones.";
    request_header_bytes = 32 * KIB, max 64 * KIB, "bytes", "Names and values of an outbound request's headers together.";
    request_header_count = 64, max 100, "headers", "Headers of an outbound request.";
    request_bytes = 8 * MIB, max 64 * MIB, "bytes", "An outbound request's body.";
    response_header_bytes = 64 * KIB, max 256 * KIB, "bytes", "An upstream's header section.";
    response_header_count = 100, max 256, "headers", "An upstream's headers.";
    response_bytes = 10 * MIB, max 64 * MIB, "bytes", "An upstream's body as received.";
    decoded_bytes = 32 * MIB, max 128 * MIB, "bytes", "An upstream's body after content decoding.";
    decode_ratio = 100, max 1000, "to 1", "Decoded to received bytes, once the first MiB is decoded: no honest JSON compresses better.";
    dns_answers = 16, max 64, "addresses", "Answers of one name lookup; more is an attack or a mistake.";
    dns_ms = 3000, max 10_000, "ms", "One name lookup; a resolver that needs longer is down.";
    connect_ms = 5000, max 30_000, "ms", "One TCP connect; two lost first packets still fit.";
    tls_ms = 5000, max 30_000, "ms", "One TLS handshake; two slow round trips still fit.";
    first_byte_ms = 30_000, max 600_000, "ms", "From the last request byte to the response's headers.";
    between_bytes_ms = 15_000, max 120_000, "ms", "Between two pieces of a response's body.";
    total_ms = 60_000, max 900_000, "ms", "One outbound request, everything included.";
    call_ms = 120_000, max 1_800_000, "ms", "One call of an action, all its requests included.";
    requests_per_call = 50, max 1000, "requests", "Outbound requests of one call of a custom guest.";
    failed_requests_per_call = 100, max 10_000, "requests", "Requests of one attempt that are refused or fail, each with its record in the ledger; a guest that goes on is ended.";
    outbound_bytes_per_call = 64 * MIB, max 512 * MIB, "bytes", "Request bodies of one call together.";
    pool_idle_ms = 30_000, max 300_000, "ms", "An unused upstream connection is closed after this.";
    pool_connections_per_key = 256, max 1024, "connections", "Idle connections kept for one key: no fewer than the calls of a workspace at once, or a busy one shakes hands anew all the time.";
    pool_connections_per_workspace = 512, max 10_000, "connections", "Idle connections kept for one workspace, whatever their keys: one that asks ever new hosts closes its own.";
    pool_connections = 1000, max 100_000, "connections", "Idle connections kept by the process: as many as calls at once; each holds a descriptor and some 40 KiB.";
    guest_memory_bytes = 16 * MIB, max 256 * MIB, "bytes", "Linear memory of one guest instance.";
    guest_table_elements = 20_000, max 100_000, "elements", "Table elements of one guest instance.";
    guest_cpu_ms = 2000, max 60_000, "ms", "Time a guest may compute, waiting not counted.";
    guest_fuel = 200_000_000, max 20_000_000_000, "instructions", "Instructions of one call; the determinate twin of the time limit.";
    guest_output_bytes = 32 * MIB, max 128 * MIB, "bytes", "A guest's output document.";
    concurrent_calls = 1000, max 100_000, "calls", "Instances that exist at once; each reserves address space and up to its memory limit.";
    workspace_concurrent_calls = 200, max 100_000, "calls", "Calls of one workspace at once: a fifth of all, so that one whose upstream hangs leaves room for the others.";
    org_calls_per_minute = 6_000_000, max 60_000_000, "calls", "Calls of one org within a minute, by one process: more than it makes, so that an org's own, lower number is the one that counts.";
    org_stored_bytes = 1_048_576 * MIB, max 1_073_741_824 * MIB, "bytes", "What is stored for one org, its runs, ledger, inputs and kept answers: beyond it no further run is accepted. A disk of usual size is full before; an org's own, lower number is the one that counts.";
    queue_ms = 100, max 10_000, "ms", "How long a call waits for its first turn; one that would wait longer is refused at once, and the caller tries again later.";
    drain_ms = 20_000, max 1_800_000, "ms", "How long running calls may take to end once a stopping process takes no more; with the notice before it less than the 30 s after which orchestrators kill.";
    inline_bytes = 32 * KIB, max 256 * KIB, "bytes", "Text that the threads which serve all callers read, check, decode or search themselves: up to 5 ms of theirs for the dearest text, and no task may take 10; larger goes to worker threads.";
    worker_threads = 2, max 64, "threads", "Threads for large texts and for checks of definitions: few, so that the others find a processor.";
    worker_bytes = 256 * MIB, max 4096 * MIB, "bytes", "Bodies of requests that workers have at once; read, a body may take ten times its size.";
    org_worker_bytes = 64 * MIB, max 4096 * MIB, "bytes", "The same of one org: a quarter, and eight of the largest bodies.";
    worker_wait_ms = 10_000, max 120_000, "ms", "How long a request waits for a worker before it is refused; callers give up later.";
    api_connections = 10_000, max 1_000_000, "connections", "Connections of callers at once; each holds a descriptor and a few KiB.";
    api_header_ms = 30_000, max 300_000, "ms", "For the header section of an API request, and the idle time of a kept connection.";
    api_body_ms = 60_000, max 600_000, "ms", "For the body of an API request: 8 MiB over a slow line still fit.";
    log_queue_bytes = MIB, max 64 * MIB, "bytes", "Log lines that wait for a slow reader of standard error; further ones are dropped and counted, so that no call waits for the log.";
    module_bytes = 32 * MIB, max 64 * MIB, "bytes", "A component when it is loaded; those of languages with a runtime have 12 to 20 MiB.";
    module_memory_bytes = 64 * MIB, max 512 * MIB, "bytes", "Linear memories of one call of a custom module together; a language's runtime begins with 10 to 13 MiB.";
    module_table_elements = 20_000, max 100_000, "elements", "A table of a custom module; a language's runtime has some 8,000.";
    module_cpu_ms = 2000, max 60_000, "ms", "Time a custom module may compute in one call, waiting not counted.";
    module_fuel = 2_000_000_000, max 20_000_000_000, "instructions", "Instructions of one call of a custom module; the determinate twin of the time limit.";
    module_calls = 32, max 1000, "calls", "Calls of custom modules at once: each may have its memory, and together they must leave room for all others.";
    module_compile_ms = 120_000, max 600_000, "ms", "Compiling one module; 12 MiB take half a minute of one processor.";
    module_compile_bytes = 4096 * MIB, max 16_384 * MIB, "bytes", "Address space of the process that compiles a module.";
    job_workers = 32, max 1000, "runs", "Accepted runs that a process executes at once, beside the calls that callers wait for.";
    workspace_jobs = 8, max 1000, "runs", "The same of one workspace: a quarter, so that one whose upstream hangs leaves room for the others.";
    workspace_open_jobs = 10_000, max 1_000_000, "runs", "Accepted runs of a workspace that have not ended, counted within a second: each is on disk with its input, and a vendor that is down for a day must not fill it.";
    workspace_job_bytes = 1024 * MIB, max 1_048_576 * MIB, "bytes", "Sealed inputs of a workspace's accepted runs, those that have ended included until they are erased: the number of runs alone would let one workspace fill a disk.";
    job_input_bytes = 8 * MIB, max 11 * MIB, "bytes", "Input and source of an accepted run together: as much as a request's body, in one write of the store.";
    job_deadline_hours = 72, max 720, "hours", "How long an accepted run is tried from the time it is due: a vendor that breaks on a Friday evening is mended on Monday.";
    job_ahead_days = 30, max 365, "days", "How far ahead not_before may be: until then what it needs may change or go.";
    job_lease_ms = 15_000, max 300_000, "ms", "How long a worker may be silent before another takes its run; it says that it works three times in that time.";
    changes_unread_ms = 5000, max 60_000, "ms", "How long a node may go without having read the changes of the other nodes to their end; from then on it makes no calls until it has. Reads are tried four times a second, so one that fails does not count, and a kill switch works everywhere within this whatever breaks.";
    job_retry_base_ms = 10_000, max 3_600_000, "ms", "The longest wait before the second try of an accepted run, drawn at random; doubled with each try.";
    job_retry_cap_ms = 3_600_000, max 86_400_000, "ms", "The longest wait between two tries of an accepted run, unless the vendor asks for more.";
    job_retry_percent = 20, max 100, "%", "Tries after the first, of the first tries of a connection: a vendor that is down gets little more than its usual load.";
    job_return_spacing_ms = 20, max 60_000, "ms", "The time between two accepted runs of a connection that were put off and are looked at again: each costs a lease and a write, so that a vendor that is down takes a small part of the workers.";
    job_retry_spare_ms = 10_000, max 3_600_000, "ms", "A connection may make one further try in this time whatever its share: a single run has to be tried again, too.";
    input_days = 14, max 365, "days", "How long the input of an accepted run is kept after its end, for those who take it up again.";
    idempotency_hours = 24, max 168, "hours", "How long an idempotency key of a caller is known: longer than callers repeat.";
    idempotency_wait_ms = 10_000, max 60_000, "ms", "How long a repeat waits for the answer of the first request.";
    idempotency_answer_bytes = 256 * KIB, max 4 * MIB, "bytes", "A kept answer; of a longer one the run's record is kept.";
    run_wait_s = 30, max 60, "s", "How long ?wait= of a run may be; proxies in between close connections that are silent for a minute.";
    run_waiters = 1000, max 100_000, "requests", "Requests that wait for the end of a run at once; one beyond that is answered without a wait.";
    outbox_days = 7, max 90, "days", "How long the end of an accepted run stays in its org's feed: whoever reads it may be away for a week.";
    outbox_entries = 100_000, max 10_000_000, "entries", "Ends of runs in the feed of one org, some 400 bytes each; the oldest are dropped first, and readers are told.";
    webhooks = 10, max 100, "webhooks", "Webhooks of one org, and of the platform: each event of the org is stored once for each of them that wants it.";
    webhook_timeout_ms = 5_000, max 30_000, "ms", "One delivery to a webhook, from the lookup to the answer: a receiver takes an event and works on it later.";
    webhook_workers = 16, max 1000, "webhooks", "Webhooks that one process delivers to at once; two of them of one org at most, so that slow receivers of one do not hold up another's.";
    webhook_pending = 100_000, max 10_000_000, "deliveries", "Deliveries of one org that wait, up to some 2 KiB each; the oldest are given up first.";
    webhook_retry_base_ms = 5_000, max 3_600_000, "ms", "The wait before a delivery is tried again; four times as long after each further try.";
    webhook_retry_max_ms = 21_600_000, max 86_400_000, "ms", "The longest wait between two tries of a delivery: a receiver that comes back is told within hours.";
    webhook_retry_hours = 72, max 720, "hours", "How long a delivery is tried: a receiver may be down over a weekend.";
    webhook_kept_days = 14, max 90, "days", "How long deliveries stay in a webhook's list after their end, for a look and for sending them again.";
    webhook_kept = 10_000, max 1_000_000, "deliveries", "Deliveries at their end in the list of one webhook; the oldest are dropped first.";
    named_connections = 50, max 1000, "connections", "Named connections of one connector in one workspace: an account for each brand, region or team; further ones are workspaces of their own.";
    connection_scan = 1_000, max 100_000, "connections", "Connections that one page of a list over an org or the platform looks at: a filter must not read all of them.";
    connect_sessions = 200, max 10_000, "sessions", "Connect links of one workspace whose time is not over, a few hundred bytes each: a program that makes one for every view of a page must not fill the store.";
    connect_steps = 100, max 10_000, "steps", "Saves and begun consents in one connect session: more than a person needs, and few enough that who has a link cannot fill the audit log.";
    connect_list = 50, max 500, "entries", "Return URLs of an org, and origins that may frame its connect page: the first are compared for every link, the second are in a header of every page.";
    connect_logo_bytes = 32 * KIB, max 48 * KIB, "bytes", "The picture of an org's connect page as a data URL; it is in every page.";
    connect_form_bytes = MIB, max 8 * MIB, "bytes", "What a person fills in on a connect page, as browsers send it: a key file and all other fields fit. It is read before it is known whether the link is one.";
    workspace_values = 100, max 1000, "values", "Values of one workspace for mappings and conditions: a pipeline, an owner, a list for each automation.";
    workspace_values_bytes = 16 * KIB, max 48 * KIB, "bytes", "Names and values of one workspace together: they are one record, and are kept in memory.";
    redrive_runs = 1000, max 10_000, "runs", "Runs that one request takes up again, each with a write on disk; the next request takes up the others.";
    breaker_failures = 10, max 10_000, "failures", "Failures of a vendor in a row, none further than breaker_window_ms from the next, after which it is not asked for a while: three calls with all their attempts, and more than a bad minute of a busy vendor has without one success.";
    breaker_window_ms = 60_000, max 3_600_000, "ms", "How long a failure counts towards opening a breaker, and an org as one that uses the host: longer than the longest request, so that a vendor that hangs is noticed.";
    breaker_open_ms = 5_000, max 600_000, "ms", "The shortest time that a breaker is open: a vendor that restarts needs some seconds.";
    breaker_open_max_ms = 300_000, max 3_600_000, "ms", "The longest time between two requests that show whether a vendor works again: who waits for it waits no longer than that.";
    breakers = 10_000, max 1_000_000, "breakers", "Circuit breakers of connections of which something is noted, and as many of hosts; each takes a few hundred bytes. Closed ones that were not used for longest are forgotten first.";
    metrics_connectors = 500, max 10_000, "connectors", "Connectors with figures of their own in /metrics; those called later count as one, named other. Each has up to some tens of lines in every scrape.";
    metrics_scan_records = 10_000, max 1_000_000, "records", "Connections, and jobs, that are looked at each 5 s while somebody reads /metrics, to count them by state: up to about 2 % of a processor. Where there are more, their counts come less often.";
    failed_login_lines = 10, max 1000, "lines/s", "Failed logins that are logged; all are counted. An attacker must not push everything else out of the log.";
    login_failures = 100, max 100_000, "failures", "Failed logins of one address, or of one /64 of IPv6, that are answered at once; then ten a second. A client with an old token that is repeated by many threads has as many in a moment.";
    login_delay_ms = 2000, max 30_000, "ms", "How long the answer to a failed login waits at most, once an address has none left: a caller with a mistake gives up no earlier.";
    login_sources = 10_000, max 1_000_000, "addresses", "Addresses of which failed logins are remembered, a few dozen bytes each; further ones are slowed together.";
    login_waiters = 1000, max 100_000, "answers", "Answers to failed logins that wait at once, each with its connection; further ones do not wait.";
    audit_days = 400, max 36_500, "days", "How long records of the audit log are kept: a year, and the time until somebody looks at it.";
    audit_records = 100_000, max 10_000_000, "records", "Records of the audit log of one org, and of the platform, of up to about 1 KiB on disk each; the oldest go beyond it, so that an org that changes something all the time fills no disk.";
    audit_login_records = 10_000, max 1_000_000, "records", "Records of failed logins, which stand apart: a flood of them pushes out no record of a change.";
    audit_login_sources = 20, max 200, "addresses", "Addresses that have a record of their own for their failed logins of a minute; those of further ones are in one record together.";
    backup_patience_ms = 60_000, max 3_600_000, "ms", "How long a backup waits for a receiver that takes nothing: it holds a thread, and what is kept for it on disk.";
    definition_revisions = 100, max 100_000, "revisions", "Earlier revisions of a connector's definition that are kept, up to a few hundred KiB each: months of changes by people, and days of a pipeline that replaces it on every commit. One that an accepted run names stays as long as the run can be taken up again.";
    key_command_ms = 10_000, max 60_000, "ms", "One answer of master_key_command, its start included: a service behind a slow line still answers, and a call that waits for it is not at its own end.";
    key_cache_s = 3600, max 86_400, "s", "How long a workspace's key that master_key_command opened is used before the service is asked again: a service that is away for as long stops no call of a busy workspace, and one that refuses is obeyed within it.";
    key_rewraps_per_second = 200, max 100_000, "keys", "Keys that a rotation of the master key wraps anew in a second: 10,000 workspaces take a minute, and the store has room for callers.";
    modules = 200, max 10_000, "modules", "Modules kept; each has up to module_bytes on disk, and some times that compiled.";
}

// Limits that only make sense together.
const _: () = assert!(8 * KIB < 32 * KIB, "a URL must fit beside its headers");
const _: () = assert!(8 * MIB == RENDERED_BYTES, "a guest assumes the default of rendered_bytes");

impl Limits {
    /// What a guest may make for one request, where it is not what a guest assumes. Why at most half of its memory:
    /// beyond that it would end without saying why.
    #[must_use]
    pub fn guest_rendered_bytes(&self) -> Option<u64> {
        let bytes = self.rendered_bytes.min((self.guest_memory_bytes / 2).max(1));
        (bytes != RENDERED_BYTES).then_some(bytes)
    }

    /// What a definition may have compiled.
    #[must_use]
    pub const fn compiling(&self) -> CompileLimits {
        let Self { patterns, pattern_bytes, predicates, .. } = *self;
        CompileLimits { patterns, pattern_bytes, predicates }
    }

    /// What an automation may have compiled: an org has many, and each stays in memory while it is used.
    #[must_use]
    pub const fn compiling_automation(&self) -> CompileLimits {
        CompileLimits { pattern_bytes: self.pattern_bytes.div_ceil(8), ..self.compiling() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_moves_only_within_its_range() {
        let mut limits = Limits::default();
        assert!(limits.set("response_bytes", 1).is_ok());
        assert_eq!(limits.response_bytes, 1);
        for (name, value) in [("response_bytes", 0), ("response_bytes", 64 * MIB + 1), ("nope", 1)] {
            let error = limits.set(name, value).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        assert!(limits.set("response_bytes", 64 * MIB).is_ok());
    }

    #[test]
    fn the_values_are_those_in_force() {
        let mut limits = Limits::default();
        limits.set("response_bytes", 7).unwrap();
        assert_eq!(limits.values().len(), TABLE.len());
        for (row, (name, value)) in TABLE.iter().zip(limits.values()) {
            assert_eq!(row.name, name);
            assert_eq!(value, if name == "response_bytes" { 7 } else { row.default }, "{name}");
        }
    }

    #[test]
    fn every_row_has_a_reason() {
        for row in TABLE {
            assert!(row.reason.len() > 20, "{}", row.name);
        }
    }
}
