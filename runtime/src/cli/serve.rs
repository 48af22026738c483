//! `portcullis serve`: the product.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portcullis_api::{Api, serve};
use portcullis_connectors::HTTP_HANDLER;
use portcullis_egress::{DnsResolver, Gate, GateParts, TcpDialer, TlsRoots};
use portcullis_engine::backup::BackupPlace;
use portcullis_engine::clock::WallClock;
use portcullis_engine::{Engine, EngineParts};
use portcullis_store::{BACKUP_SPOOL, MasterKeyRing};

use super::module::module_parts;
use super::{BAD_CONFIG, DONE, FAILED, STOP, block_on, known_variables, refused};
use crate::config::{Config, ConfigArgs, FoundKeys, LOG};
use crate::data_dir::{DataDir, Refusal, is_initialised, remove_left};
use crate::storage::{self, Storage};
use crate::telemetry::{Telemetry, parse};
use crate::{cautions, fd_limit, output};

mod control;
mod reload;
mod signals;

use reload::Reload;
use signals::Signals;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Validate the configuration, warn of what is risky, and stop
    #[arg(long)]
    check: bool,
}

/// What a configuration leads to, before anything is opened.
struct Checked {
    config: Config,
    keys: FoundKeys,
    tls_roots: TlsRoots,
}

/// What a stop may take beyond the sum of its steps before it counts as stuck.
const STOP_MARGIN: Duration = Duration::from_secs(3);

/// Time for the message of a process that ends itself.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Ends a process that cannot stop.
fn give_up(after: Duration) {
    end_now(format!("the process did not stop within {} s; it ends now", after.as_secs()));
}

/// Ends the process after a message.
fn end_now(text: String) {
    // Why on another thread: what nobody reads must not keep it from ending.
    let _ = std::thread::spawn(move || output::error(&text));
    std::thread::sleep(LAST_WORDS);
    std::process::exit(i32::from(FAILED));
}

/// Serves until a signal stops it.
pub(super) fn run(args: &ServeArgs) -> u8 {
    let outcome = if args.check { check_only(&args.config) } else { start(&args.config) };
    match outcome {
        Ok(()) => DONE,
        Err(refusal) => refused(&refusal),
    }
}

fn check(args: &ConfigArgs) -> Result<Checked, Refusal> {
    let bad = |reason: String| Refusal { code: BAD_CONFIG, reason };
    let config = Config::load(args).map_err(|errors| bad(errors.join("\n")))?;
    if !config.store.is_shared() && !is_initialised(&config.data_dir) {
        // Why not only that it is none: an `init` or a `restore` that is under way is what the user wants to know of.
        DataDir::open(&config, "serve")?;
    }
    let keys = config.master_keys().map_err(bad)?;
    let tls_roots = TlsRoots::public(config.egress_ca_pem.as_deref())
        .map_err(|error| bad(format!("egress.ca_file: {error}")))?;
    Ok(Checked { config, keys, tls_roots })
}

fn check_only(args: &ConfigArgs) -> Result<(), Refusal> {
    let Checked { config, keys, .. } = check(args)?;
    if config.store.is_shared() {
        // Why also here: what refuses a node is mostly in the database.
        let opened = block_on(async {
            let keys = keys.open().await.map_err(Refusal::failed)?;
            storage::open(&config, &keys).await
        });
        opened.map_err(Refusal::failed)?.map(drop)?;
    }
    let found = cautions::all(&config, &known_variables()).into_iter().chain(cautions::address(&config));
    found.for_each(|caution| output::warning(&caution));
    output::line("the configuration is valid");
    Ok(())
}

fn start(args: &ConfigArgs) -> Result<(), Refusal> {
    // Why before anything is read: from here on nothing waits for the reader of standard error.
    let log = args.log.as_deref().filter(|log| parse(log).is_ok()).unwrap_or(LOG);
    let telemetry = Telemetry::start(log).map_err(|reason| Refusal { code: BAD_CONFIG, reason })?;
    let checked = check(args)?;
    telemetry.queue().bound(checked.config.limits.log_queue_bytes);
    telemetry.refilter(&checked.config.log).map_err(Refusal::failed)?;
    for caution in cautions::all(&checked.config, &known_variables()) {
        tracing::warn!("{caution}");
    }
    // Why never dropped: threads of the store may outlive this function, and none may outlive the lock.
    let _data_dir = ManuallyDrop::new(storage::hold(&checked.config, "serve")?);
    let at_most = serve::longest_stop(&checked.config.limits) + STOP + STOP_MARGIN;
    let asked = serve::stop_signal_apart(at_most, move || give_up(at_most))
        .map_err(|error| Refusal::failed(format!("signals cannot be listened for: {error}")))?;
    block_on(run_server(args, checked, telemetry, asked)).map_err(Refusal::failed).and_then(|done| done)
}

async fn run_server(
    args: &ConfigArgs,
    checked: Checked,
    telemetry: Telemetry,
    asked: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Refusal> {
    let failed = Refusal::failed;
    let Checked { config, keys, tls_roots } = checked;
    let signals = Signals::listen().map_err(|e| failed(format!("signals cannot be listened for: {e}")))?;
    let mut limits = config.limits.clone();
    fd_limit::share_out(&mut limits).map_err(failed)?;
    let limits = Arc::new(limits);
    let resolver = DnsResolver::new(&config.egress_dns_servers, &limits).map_err(failed)?;
    let gate = Gate::new(GateParts {
        resolver: Arc::new(resolver),
        dialer: Arc::new(TcpDialer),
        tls_roots,
        limits: Arc::clone(&limits),
    });
    let keys = keys.open().await.map_err(failed)?;
    let Storage { backends, modules, .. } = opened_storage(&config, &keys).await?;
    if !config.store.is_shared() {
        tell_removed(&remove_left(&config.data_dir));
    }
    let parts = EngineParts {
        limits,
        backends,
        http_handler: HTTP_HANDLER.into(),
        master_key: keys,
        gate: Arc::clone(&gate),
        compiled_dir: config.data_dir.join("compiled"),
        modules: module_parts(modules, config.modules.clone()),
        backup: backup_place(&config),
        clock: WallClock::default(),
        public_url: config.public_url.clone(),
        node: config.node().map_err(failed)?,
    };
    let engine = Engine::open(parts).await.map_err(|e| failed(e.to_string()))?;
    tracing::info!(node = %engine.node(), "this is the name of the node");
    engine.start_keys();
    engine.start_jobs();
    engine.start_schedules();
    engine.start_webhooks();
    // Why only there: what it asks for is made of files, and the directory of a shared store is nobody's alone.
    let _control = if config.store.is_shared() { None } else { control::start(&engine, &config.data_dir) };
    let listener = serve::listen(config.listen);
    let listener = listener.map_err(|e| failed(format!("listen {}: {e}", config.listen)))?;
    let address = listener.local_addr().map_err(|e| failed(e.to_string()))?;
    let queue = Arc::clone(telemetry.queue());
    let api = Api::new(Arc::clone(&engine))
        .with_log_lines_lost(move || queue.lost())
        .with_trusted_proxies(config.trusted_proxies.clone());
    if let Some(address) = config.metrics_listen {
        let listener =
            serve::listen(address).map_err(|e| failed(format!("metrics.listen {address}: {e}")))?;
        let bound = listener.local_addr().map_err(|e| failed(e.to_string()))?;
        tracing::info!(address = %bound, "metrics are served without a token");
        // Why never ended: what a stop does is to be seen, too.
        tokio::spawn(serve::serve_metrics(Arc::clone(&api), listener));
    }
    let reload = Reload { args: args.clone(), config, gate, telemetry, engine: Arc::downgrade(&engine) };
    drop(engine);
    signals.obey(reload);
    output::announce(format!("portcullis {} listening on http://{address}", env!("CARGO_PKG_VERSION")));
    serve::serve(api, listener, asked).await.map_err(|e| failed(e.to_string()))
}

/// Logs what was removed, and what was not. Why no refusal then: the calls of the tenants do not need it gone.
fn tell_removed(removed: &[Result<&'static str, String>]) {
    for one in removed {
        match one {
            Ok(name) => tracing::info!(
                dir = name,
                "removed what a command left in the data directory that was killed"
            ),
            Err(error) => tracing::error!(
                error,
                "what a command left that was killed cannot be removed, and holds data that is deleted since; remove it"
            ),
        }
    }
}

/// Where backups are made; nowhere with a database, which has its own.
fn backup_place(config: &Config) -> Option<BackupPlace> {
    if config.store.is_shared() {
        return None;
    }
    let recipient = config.backup_recipient.clone();
    Some(BackupPlace { recipient, spool: config.data_dir.join(BACKUP_SPOOL) })
}

/// Opens the storage; from here on a shared one knows that this node serves from it.
async fn opened_storage(config: &Config, keys: &MasterKeyRing) -> Result<Storage, Refusal> {
    if let Some(options) = config.store.postgres() {
        if config.store_migrate {
            let done = storage::bring_up(options, None).await?;
            tracing::info!(from = done.from, to = done.to, "the database has the schema of this version");
        }
        storage::serve_until_lost(options, end_now).await?;
    }
    storage::open(config, keys).await
}
