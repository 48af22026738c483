//! SIGHUP: the configuration is read again. What can change while calls run is taken over; the rest is named, because it
//! needs a restart. A configuration with an error changes nothing.

use std::sync::{Arc, Weak};

use portcullis_egress::{Gate, TlsRoots};
use portcullis_engine::Engine;

use crate::config::{Config, ConfigArgs};
use crate::telemetry::Telemetry;

/// Keys that can change while calls run: the log's filter, and the roots by which certificates are verified from then on.
/// The master keys are read again each time, wherever they are.
const TAKEN: &[&str] = &["log", "egress.ca_file"];

/// What a reload needs.
pub(super) struct Reload {
    /// Flags and environment, which stay as they were at the start.
    pub(super) args: ConfigArgs,
    /// The configuration in force, and for keys that need a restart, the one that a restart would replace.
    pub(super) config: Config,
    pub(super) gate: Arc<Gate>,
    pub(super) telemetry: Telemetry,
    /// What has the master keys; it may have stopped.
    pub(super) engine: Weak<Engine>,
}

impl Reload {
    /// Reads the configuration again, on a thread where that may take its time.
    pub(super) async fn run(mut self) -> Self {
        let args = self.args.clone();
        let read = tokio::task::spawn_blocking(move || read(&args)).await;
        let read = read.unwrap_or_else(|_| Err(vec!["reading it failed".to_owned()]));
        if let Ok((config, _)) = &read {
            self.take_keys(config).await;
        }
        match read.and_then(|(config, roots)| self.take(config, roots).map_err(|error| vec![error])) {
            Ok(()) => {}
            Err(errors) => {
                let errors = errors.join("; ");
                tracing::error!(
                    errors,
                    "SIGHUP: the configuration has errors; the one before stays in force"
                );
            }
        }
        self
    }

    /// Takes the master keys of now. Why apart: neither keeps the other from being taken over.
    async fn take_keys(&self, config: &Config) {
        let Some(engine) = self.engine.upgrade() else { return };
        let taken = async {
            let keys = config.open_keys().await?;
            let ids: Vec<String> = keys.key_ids().iter().map(ToString::to_string).collect();
            engine.replace_master_keys(keys).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(ids.join(", "))
        };
        match taken.await {
            Ok(key_ids) => tracing::info!(key_ids, "SIGHUP: the master keys were read again"),
            Err(error) => {
                tracing::error!(error, "SIGHUP: the master keys cannot be taken; those before stay in force");
            }
        }
    }

    fn take(&mut self, config: Config, roots: TlsRoots) -> Result<(), String> {
        let differences = self.config.differences(&config);
        let (taken, restart): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|key| TAKEN.contains(&key.as_str()));
        let changed = |key: &str| taken.iter().any(|taken| taken == key);
        if changed("log") {
            self.telemetry.refilter(&config.log)?;
            self.config.log.clone_from(&config.log);
        }
        if changed("egress.ca_file") {
            self.gate.replace_tls_roots(roots);
            self.config.egress_ca_pem = config.egress_ca_pem;
        }
        let (taken, restart) = (taken.join(", "), restart.join(", "));
        if restart.is_empty() {
            tracing::info!(taken, "SIGHUP: the configuration was read again");
        } else {
            tracing::warn!(
                taken,
                restart,
                "SIGHUP: the configuration was read again; these keys need a restart"
            );
        }
        Ok(())
    }
}

fn read(args: &ConfigArgs) -> Result<(Config, TlsRoots), Vec<String>> {
    let config = Config::load(args)?;
    let roots = TlsRoots::public(config.egress_ca_pem.as_deref());
    Ok((config, roots.map_err(|error| vec![format!("egress.ca_file: {error}")])?))
}
