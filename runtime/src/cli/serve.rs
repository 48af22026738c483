//! `portcullis serve`: the product.

use std::sync::Arc;

use clap::Args;
use portcullis_api::{Api, serve};
use portcullis_connectors::HTTP_HANDLER;
use portcullis_egress::{DnsResolver, Gate, GateParts, TcpDialer, TlsRoots};
use portcullis_engine::{Engine, EngineParts};
use portcullis_store::Backends;

use super::{BAD_CONFIG, DONE, FAILED, bad_config, block_on};
use crate::config::{Config, ConfigArgs};
use crate::output;
use crate::{fd_limit, telemetry};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Validate the configuration and stop
    #[arg(long)]
    check: bool,
}

/// Serves until a signal stops it.
pub(super) fn run(args: &ServeArgs) -> u8 {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => return bad_config(&errors),
    };
    if !config.store_dir().exists() {
        let dir = config.data_dir.display();
        output::error(&format!("{dir} was never initialised; run: portcullis init --data-dir {dir}"));
        return BAD_CONFIG;
    }
    let key = match config.master_key() {
        Ok(key) => key,
        Err(e) => return bad_config(&[e]),
    };
    let tls_roots = match TlsRoots::public(config.egress_ca_pem.as_deref()) {
        Ok(roots) => roots,
        Err(e) => return bad_config(&[format!("egress.ca_file: {e}")]),
    };
    if args.check {
        output::line("the configuration is valid");
        return DONE;
    }
    telemetry::start(&args.config.log);
    let outcome = block_on(async {
        let mut limits = config.limits.clone();
        fd_limit::share_out(&mut limits)?;
        let limits = Arc::new(limits);
        let resolver = DnsResolver::new(&config.egress_dns_servers, &limits)?;
        let gate = Gate::new(GateParts {
            resolver: Arc::new(resolver),
            dialer: Arc::new(TcpDialer),
            tls_roots,
            limits: Arc::clone(&limits),
        });
        let backends = Backends::open_directory(&config.data_dir, config.ledger_sync);
        let parts = EngineParts {
            limits,
            backends: backends.map_err(|e| e.to_string())?,
            http_handler: HTTP_HANDLER.into(),
            master_key: key,
            gate,
            compiled_dir: config.data_dir.join("compiled"),
            public_url: config.public_url.clone(),
        };
        let engine = Engine::open(parts).await.map_err(|e| e.to_string())?;
        let listener = serve::listen(config.listen).map_err(|e| format!("listen {}: {e}", config.listen))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        output::line(&format!("portcullis {} listening on http://{address}", env!("CARGO_PKG_VERSION")));
        serve::serve(Api::new(engine), listener, serve::stop_signal()).await.map_err(|e| e.to_string())
    });
    match outcome.and_then(|done| done) {
        Ok(()) => DONE,
        Err(e) => {
            output::error(&e);
            FAILED
        }
    }
}
