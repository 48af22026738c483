//! The process: its locks, logs, signals, limits and the files that its commands make.
