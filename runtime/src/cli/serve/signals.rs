//! What the other signals do to a serving process. Without this, most would end it, and every call with it.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reload;

/// The signals of a process that do not ask it to stop, taken over from the operating system's defaults.
pub(super) struct Signals {
    hangup: Signal,
    /// Their effect is that they have none: programs around the process may send them.
    ignored: [Signal; 3],
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn listen() -> std::io::Result<Self> {
        // A file at the limit of its size is then an error of the write, like a full disk.
        let too_large = SignalKind::from_raw(Number::XFSZ.as_raw());
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            ignored: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
                signal(too_large)?,
            ],
        })
    }

    /// From now on SIGHUP reads the configuration again, also while the process stops.
    pub(super) fn obey(self, mut reload: Reload) {
        let Self { mut hangup, ignored } = self;
        tokio::spawn(async move {
            let _ignored = ignored;
            while hangup.recv().await.is_some() {
                reload = reload.run().await;
            }
        });
    }
}
