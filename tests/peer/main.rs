//! The far side of the network-namespace tests: the servers that the product contacts, and its caller.
//!
//! `netns-peer serve SCRIPT.json` is a scripted DNS server and a TLS upstream; it prints one JSON
//! line when ready and one for each event, answers a `sync` line on standard input with a `sync`
//! event, releases one held answer for each `release` line, and ends when standard input does.
//! `netns-peer client` reads one JSON request per line and prints one JSON answer per line. It judges
//! nothing: the tests in `it/netns.rs` do.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

mod client;
mod dns;
mod script;
mod upstream;

use script::Script;

/// What went wrong, for the person who reads the failed test.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", script] => serve(&Script::read(script)?),
        ["client"] => client::run(),
        _ => Err("usage: netns-peer serve SCRIPT.json | netns-peer client".into()),
    }
}

/// One JSON line on standard output.
fn event(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Why ignored: when the test is gone, standard input ends as well, and that stops the process.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn serve(script: &Script) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (gone, until_gone) = tokio::sync::oneshot::channel::<()>();
    runtime.block_on(async {
        if let Some(address) = script.dns {
            let zone = Arc::new(dns::Zone::new(script.names.clone()));
            tokio::spawn(dns::over_udp(UdpSocket::bind(address).await?, Arc::clone(&zone)));
            tokio::spawn(dns::over_tcp(TcpListener::bind(address).await?, zone));
        }
        let upstream = upstream::Upstream::new(&script.upstream)?;
        for address in &script.upstream.addresses {
            tokio::spawn(upstream.clone().accept(TcpListener::bind(address).await?));
        }
        event(&json!({ "event": "ready" }));
        let held = upstream.held();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                match line.as_str() {
                    "sync" => event(&json!({ "event": "sync" })),
                    "release" => held.add_permits(1),
                    _ => {}
                }
            }
            drop(gone);
        });
        // Why ignored: it only ends because the sender is dropped, which is the signal.
        let _ = until_gone.await;
        Ok(())
    })
}
