//! `portcullis migrate`: brings a database's schema to this version, or moves everything between a data directory and a
//! database.
//!
//! A move copies and verifies; the source stays as it is. Records come last and in one transaction, so that nothing can
//! be served from a target that is not whole. What was copied before an interruption is not copied again.

use clap::Args;

use super::{BAD_CONFIG, block_on, load, told};
use crate::config::{ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::Refusal;
use crate::storage;

mod copying;
mod directory;
mod ledgers;
mod moving;
mod progress;
mod records;
mod runs;
mod side;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis migrate --store 'postgres://owner@db.example/portcullis?sslmode=verify-full' --serving-role portcullis
  portcullis migrate --from sled:/var/lib/portcullis --to 'postgres:///portcullis?host=/run/postgresql'
Stop every server of the source first. A move that was interrupted goes on when the same command is run again.")]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    pub(super) data: DataDirArgs,
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// Role of the nodes, if another one owns the schema: it is granted what a node needs, and no more
    #[arg(long, value_name = "ROLE", conflicts_with = "from")]
    serving_role: Option<String>,
    /// Move everything from here: sled:DIR or postgres://…
    #[arg(long, value_name = "STORE", requires = "to")]
    pub(super) from: Option<String>,
    /// Move everything to here: postgres://… or sled:DIR, which must be empty
    #[arg(long, value_name = "STORE", requires = "from")]
    pub(super) to: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &MigrateArgs) -> u8 {
    told(match (&args.from, &args.to) {
        (Some(from), Some(to)) => moving::run(args, from, to),
        _ => bring_up(args),
    })
}

/// Brings the schema to this version.
fn bring_up(args: &MigrateArgs) -> Result<String, Refusal> {
    let config = load(&ConfigArgs::from(&args.data))?;
    let Some(options) = config.store.postgres() else {
        let reason = "migrate needs a database: --store postgres://…, or --from and --to to move everything"
            .to_owned();
        return Err(Refusal { code: BAD_CONFIG, reason });
    };
    let done =
        block_on(storage::bring_up(options, args.serving_role.as_deref())).map_err(Refusal::failed)??;
    let role = args.serving_role.as_ref().map(|role| format!("; {role} may serve")).unwrap_or_default();
    Ok(match done.from {
        from if from == done.to => format!("the database has schema {} already{role}", done.to),
        0 => format!("the database has schema {} now{role}", done.to),
        from => format!("the database went from schema {from} to {}{role}", done.to),
    })
}
