//! Every metric, with its labels and what it says. The documentation's table is made from this file.

/// One metric family.
#[derive(Debug, Clone, Copy)]
pub struct MetricRow {
    /// As in the Prometheus text format: a counter ends with `_total`.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels, comma-separated.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $name:literal $kind:literal [$labels:literal] $help:literal;)*) => {
        $(pub(super) const $constant: MetricRow =
            MetricRow { name: $name, kind: $kind, labels: $labels, help: $help };)*

        /// Every metric, in the order of this file.
        pub const TABLE: &[MetricRow] = &[$($constant),*];
    };
}

metrics! {
    CALLS "portcullis_calls_total" "counter" ["connector,outcome,code"] "Runs that ended: those that a caller waited for, and accepted ones at their end. outcome is the run's status; code is the error's, of a skipped run the reason, else empty";
    CALL_SECONDS "portcullis_call_seconds" "histogram" ["phase"] "Time of each call that a caller waited for and of each try of an accepted run: queue, guest, dns, connect, tls, upstream (the rest of its requests) and total. A phase that did not happen is not counted";
    REFUSALS "portcullis_refusals_total" "counter" ["check,code"] "Calls that a check refused. Besides the checks of a run: admission, requests that found no place; connection, calls whose connection needs attention";
    RUNS_RECORDED "portcullis_runs_recorded_total" "counter" ["status"] "Records of runs that were stored";
    RUNS_WELL "portcullis_runs_well" "gauge" [""] "1 if records of runs can be stored";
    ACTIVE_CALLS "portcullis_active_calls" "gauge" [""] "Calls that run now";
    QUEUE_ADMITTED "portcullis_queue_admitted" "gauge" [""] "Calls that have a place (limits.concurrent_calls)";
    QUEUE_WAITING "portcullis_queue_waiting" "gauge" [""] "Of those, calls that wait for their first turn";
    QUEUE_WORKER_BYTES "portcullis_queue_worker_bytes" "gauge" [""] "Bodies of large requests that workers have or that wait for one (limits.worker_bytes)";
    POOL "portcullis_pool_connections" "gauge" [""] "Idle upstream connections";
    RENEWALS "portcullis_token_renewals_total" "counter" ["outcome"] "Tokens that were obtained or renewed without a person: succeeded or failed";
    CONNECTIONS "portcullis_connections" "gauge" ["state"] "Saved connections by state; counted in the background";
    JOBS "portcullis_jobs" "gauge" ["state"] "Accepted runs that have not ended, and those that can be taken up again, by state; counted in the background";
    BREAKERS "portcullis_breakers" "gauge" ["kind,state"] "Circuit breakers of this process of which something is noted, of connections and of hosts: closed, open, half_open";
    LEDGER_RECORDS "portcullis_ledger_records_total" "counter" ["phase"] "Records that were appended to the outbound ledgers: begin, complete, refused";
    LEDGER_ERRORS "portcullis_ledger_errors_total" "counter" [""] "Records that an outbound ledger did not take";
    LEDGER_WELL "portcullis_ledger_well" "gauge" [""] "1 if the outbound ledgers can be written";
    LEDGER_INTACT "portcullis_ledger_intact" "gauge" [""] "0 if the ledger of some org was found to be damaged";
    STORE_COMMITS "portcullis_store_commits_total" "counter" [""] "Commits of the store since it was made";
    STORE_RECORDS "portcullis_store_records" "gauge" [""] "Records in the store";
    STORE_WELL "portcullis_store_well" "gauge" [""] "1 if the store can be read and written";
    CHANGES_AGE "portcullis_changes_age_seconds" "gauge" [""] "How long ago the changes of other nodes were read to their end; 0 where one process has the store alone. From limits.changes_unread_ms on the node makes no calls";
    STORE_ANCHORED "portcullis_store_anchored" "gauge" [""] "0 if the anchor file cannot be written";
    DISK "portcullis_disk_bytes" "gauge" ["kind"] "Bytes on disk: store, ledger, runs, compiled, modules; measured in the background";
    SCAN_AGE "portcullis_scan_age_seconds" "gauge" ["kind"] "How old the figures are that are counted in the background: connections, jobs, disk";
    LOGINS "portcullis_logins_failed_total" "counter" ["reason"] "Requests without a valid API token: missing, malformed, unknown (also a revoked one), expired";
    LOG_LOST "portcullis_log_lines_lost_total" "counter" [""] "Log lines that could not be written";
    REQUESTS "portcullis_api_requests_total" "counter" [""] "Requests to the API";
    BUILD "portcullis_build_info" "gauge" ["version"] "Always 1";
    NODE "portcullis_node_info" "gauge" ["node"] "Always 1: the name of this node (node_id)";
    PROCESS_CPU "process_cpu_seconds_total" "counter" [""] "Processor time of the process";
    PROCESS_RSS "process_resident_memory_bytes" "gauge" [""] "Memory of the process";
    PROCESS_VIRTUAL "process_virtual_memory_bytes" "gauge" [""] "Address space of the process, most of it reserved and not used";
    PROCESS_FDS "process_open_fds" "gauge" [""] "Open file descriptors";
    PROCESS_MAX_FDS "process_max_fds" "gauge" [""] "Limit of open file descriptors";
    PROCESS_START "process_start_time_seconds" "gauge" [""] "When the process started, seconds since 1970";
}

impl MetricRow {
    /// The name of the family: what the library adds to a counter is left out.
    pub(super) fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").filter(|_| self.kind == "counter").unwrap_or(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_prometheus_and_each_is_once() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        for row in TABLE {
            assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", row.name);
            assert_eq!(row.kind == "counter", row.name.ends_with("_total"), "{}", row.name);
            assert!(matches!(row.kind, "counter" | "gauge" | "histogram"));
            assert!(!row.help.ends_with('.') && !row.help.contains(['\n', '\\']), "{}", row.help);
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
