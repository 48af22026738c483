//! `portcullis token create`: a platform token, made without a server by whoever has the data and the master key.

use clap::{Args, Subcommand, ValueEnum};
use portcullis_engine::api_token::{self, NewToken, Role};
use portcullis_engine::audit_log;
use portcullis_store::{Document as _, TokenRecord, Vault};

use super::{DONE, block_on, load, refused};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::Refusal;
use crate::{output, storage};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a platform token and print it, once; the tokens there are stay valid
    ///
    /// For the day on which nobody has a platform token any more: the first one was lost, or all have expired. It works on
    /// the data directory itself, so it needs three things:
    ///
    /// 1. The server is stopped. A running one holds the directory, and the command says so and changes nothing. Where
    ///    the store is PostgreSQL the nodes may go on.
    ///
    /// 2. The master key, from where the server has it (--master-key-file, PORTCULLIS_MASTER_KEY, or master.key in the
    ///    data directory). It is checked against the store: a copy of the data alone makes no token.
    ///
    /// 3. A person, or a file, that keeps what is printed: the token is shown once and stored only as a hash.
    ///
    /// Then start the server, and use the token as: Authorization: Bearer pc_platform_…
    #[command(
        verbatim_doc_comment,
        after_help = "Example:
  systemctl stop portcullis
  portcullis token create --role platform --data-dir /var/lib/portcullis
  systemctl start portcullis
Then revoke what was lost: GET /admin/token shows when each token was last used, DELETE /admin/token/{id} takes it away."
    )]
    Create(CreateArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Role of the token; with a platform token, the others are made by the API
    #[arg(long, value_enum, default_value_t = OfflineRole::Platform)]
    role: OfflineRole,
    /// A note for people, shown where tokens are listed
    #[arg(long, value_name = "TEXT", default_value = "made by portcullis token create")]
    label: String,
}

/// The roles that can be made without a server: the one that needs no org.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OfflineRole {
    Platform,
}

impl OfflineRole {
    fn token(self, label: String) -> (Role, NewToken) {
        match self {
            Self::Platform => (Role::Platform, NewToken::platform(Some(label))),
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &TokenArgs) -> u8 {
    let TokenCommand::Create(args) = &args.command;
    match create(args) {
        Ok(()) => DONE,
        Err(refusal) => refused(&refusal),
    }
}

fn create(args: &CreateArgs) -> Result<(), Refusal> {
    let mut all = ConfigArgs::from(&args.data);
    all.key = args.key.clone();
    let config = load(&all)?;
    let _held = storage::hold(&config, "token create")?;
    block_on(make(&config, args)).map_err(Refusal::failed).and_then(|made| made)
}

async fn make(config: &Config, args: &CreateArgs) -> Result<(), Refusal> {
    let failed = Refusal::failed;
    let keys = config.open_keys().await.map_err(failed)?;
    let records = storage::open_records(config, &keys).await?;
    // Why: who has a copy of the data alone must not become the platform's admin by a product command.
    let vault = Vault::open(records.clone(), keys).await.map_err(|e| failed(e.to_string()))?;
    let (role, token) = args.role.token(args.label.clone());
    let text = api_token::generate(role).map_err(|e| failed(e.detail))?;
    let (_, writes) = api_token::record(&text, token).map_err(|e| failed(e.detail))?;
    // Why before the commit: a token that nobody saw must not be valid.
    output::shown(&text)
        .map_err(|e| failed(format!("the token could not be shown (standard output: {e}); none was made")))?;
    let made = audit_log::commit_offline(&records, &vault, "createToken", &[TokenRecord::KIND], writes).await;
    made.map_err(|e| failed(format!("the token above is not valid: {e}")))?;
    output::note("this token is valid from now on, and shown once");
    Ok(())
}
