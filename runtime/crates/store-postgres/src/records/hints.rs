//! Wakes this node when another one committed. A hint only: whoever waits for it also looks by the clock.

use tokio::sync::watch;
use tokio_postgres::AsyncMessage;

use crate::pause::Pauses;
use crate::pool::{PostgresOptions, listen_to};

/// Listens until nobody wants to know any more, with a connection of its own.
pub(super) async fn listen(options: PostgresOptions, hint: watch::Sender<u64>) {
    let mut pauses = Pauses::default();
    while !hint.is_closed() {
        let told = hint.clone();
        let on_message = move |message: AsyncMessage| {
            if let AsyncMessage::Notification(note) = message
                && let Ok(seq) = note.payload().parse::<u64>()
            {
                told.send_if_modified(|last| {
                    let is_news = seq > *last;
                    *last = seq.max(*last);
                    is_news
                });
            }
        };
        let listening = listen_to(&options, "LISTEN portcullis_changes", on_message);
        let ended = tokio::select! {
            ended = listening => ended,
            () = hint.closed() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "listening for changes ended");
        }
        pauses.wait().await;
    }
}
