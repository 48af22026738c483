//! The text that scrapers read: OpenMetrics as the library writes it, and from it the older text format of Prometheus.

use std::sync::{Arc, Mutex};

use portcullis_core::fault::Code;
use portcullis_core::sync::lock;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use super::{figures, process, scan};
use crate::engine::Engine;
use crate::error::Error;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let named = accept.split(',').any(|part| {
            let media = part.split(';').next().unwrap_or_default().trim();
            media.eq_ignore_ascii_case("application/openmetrics-text")
        });
        if named { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Counts that are kept outside the engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside {
    /// Requests to the API.
    pub requests: u64,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
}

/// The last text, and who makes the next one.
#[derive(Default)]
pub(super) struct Exposition {
    making: tokio::sync::Mutex<()>,
    /// OpenMetrics.
    last: Mutex<Option<Arc<str>>>,
}

/// The metrics of now. One text is made at a time: who asks meanwhile gets the last one.
///
/// # Errors
/// `internal`; a text can always be made.
pub async fn scrape(engine: &Arc<Engine>, outside: Outside, format: Format) -> Result<String, Error> {
    let exposition = &engine.resources.metrics.exposition;
    let last = || lock(&exposition.last).clone();
    let text = match (exposition.making.try_lock(), last()) {
        (Ok(_making), _) => made(engine, outside).await?,
        (Err(_), Some(last)) => last,
        // Why waited for: there is no earlier one.
        (Err(_), None) => {
            let _making = exposition.making.lock().await;
            match last() {
                Some(last) => last,
                None => made(engine, outside).await?,
            }
        }
    };
    Ok(match format {
        Format::OpenMetrics => text.to_string(),
        Format::Prometheus => prometheus(&text),
    })
}

async fn made(engine: &Arc<Engine>, outside: Outside) -> Result<Arc<str>, Error> {
    scan::wanted(engine).await;
    let mut now = Registry::default();
    figures::register(&mut now, engine, &outside).await;
    let own = Arc::clone(engine);
    // Why on another thread: tens of thousands of lines take milliseconds, and /proc is read.
    let text = tokio::task::spawn_blocking(move || {
        process::register(&mut now);
        let mut text = String::new();
        encode_registry(&mut text, &own.resources.metrics.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text))
            .map(|()| text)
    });
    let text = text.await.ok().and_then(Result::ok).ok_or_else(|| Error::plain(Code::Internal))?;
    let text: Arc<str> = text.into();
    *lock(&engine.resources.metrics.exposition.last) = Some(Arc::clone(&text));
    Ok(text)
}

/// The same in the older format, which names a counter as its samples are named, and has no mark of its end.
fn prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if let Some(of_family) = line.strip_prefix("# HELP ") {
            // Why later: whether it is a counter stands in the next line.
            help = of_family;
        } else if let Some((family, kind)) =
            line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.strip_prefix(family).unwrap_or_default();
            for part in ["# HELP ", family, suffix, words, "\n# TYPE ", family, suffix, " ", kind, "\n"] {
                text.push_str(part);
            }
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_counter_as_its_samples() {
        let open = "# HELP a_b Calls.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# HELP c Now.\n# TYPE c gauge\nc 1\n# EOF\n";
        let older = "# HELP a_b_total Calls.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# HELP c Now.\n# TYPE c gauge\nc 1\n";
        assert_eq!(prometheus(open), older);
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        for (accept, wanted) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
            ("text/html, Application/OpenMetrics-Text;version=0.0.1;q=0.75", Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), wanted, "{accept}");
        }
    }
}
