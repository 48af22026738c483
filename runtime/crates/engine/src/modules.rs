//! Custom modules: admitted, stored, compiled, and loaded for calls. Their code is never trusted; what it may do is
//! the definition's `runtime`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use portcullis_core::connector::Runtime;
use portcullis_core::definition::ProfileDef;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::sync::lock;
use portcullis_core::violation::Violation;
use portcullis_sandbox::{
    CompileError, CompiledCache, DIGEST_PREFIX, LoadError, Module, ModuleCompiler, OwnLimits, Sandbox,
    inspect, is_digest,
};
pub use portcullis_sandbox::{ModuleProblem, ModuleReport};
pub use portcullis_store::ModuleRecord;
use portcullis_store::{ConnectorRecord, ModuleBytes, StoreError, Writes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::resources::Resources;

pub(crate) mod capability;
mod examples;
pub mod local;
mod signature;

pub(crate) use examples::check as check_examples;
pub use signature::TrustedKeys;

/// Modules whose code is in memory; others are read again from the folder of compiled ones.
const LOADED_MAX: usize = 16;
/// Compiled modules that are kept on disk.
const COMPILED_MAX: usize = 64;

/// What differs between installations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleRules {
    /// Keys that may sign modules.
    pub trusted_keys: TrustedKeys,
    /// Whether a module without a signature is refused.
    pub require_signature: bool,
    /// Whether modules of the profile `std` are taken, and run.
    pub allow_std: bool,
}

impl ModuleRules {
    /// The largest profile that a module may need here.
    #[must_use]
    pub const fn admitted(&self) -> ProfileDef {
        if self.allow_std { ProfileDef::Std } else { ProfileDef::Pure }
    }
}

/// Everything that modules need.
pub(crate) struct Modules {
    pub(crate) sandbox: Sandbox,
    compiler: ModuleCompiler,
    compiled: CompiledCache,
    bytes: Arc<dyn ModuleBytes>,
    rules: ModuleRules,
    loaded: Mutex<HashMap<String, Module>>,
    /// Calls at once.
    calls: Arc<Semaphore>,
    /// Held while one is compiled and kept, so that a second upload of it finds the result.
    compiling: tokio::sync::Mutex<()>,
}

/// Where modules are kept and compiled.
pub struct ModuleParts {
    /// Their bytes.
    pub bytes: Arc<dyn ModuleBytes>,
    /// The program that compiles them: this one.
    pub compiler: PathBuf,
    pub rules: ModuleRules,
}

/// An admitted module.
pub struct Admitted {
    pub report: ModuleReport,
    /// Whether it was not known before.
    pub is_new: bool,
}

/// Codes of reports.
const CODES: &[&str] = &[
    "not_a_component",
    "import_forbidden",
    "world_version",
    "no_handler",
    "too_large",
    "memory_too_large",
    "table_too_large",
    "start_function",
    "compile_failed",
    "compile_timeout",
    "signature_missing",
    "signature_invalid",
];

/// The limits of a definition below those of the platform.
pub(crate) const fn own_limits(runtime: &Runtime) -> OwnLimits {
    OwnLimits { memory_bytes: runtime.memory_bytes, cpu_ms: runtime.cpu_ms }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix(DIGEST_PREFIX).unwrap_or(digest)
}

impl Modules {
    pub(crate) fn open(
        parts: ModuleParts,
        limits: &Arc<Limits>,
        compiled: CompiledCache,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            sandbox: Sandbox::for_modules(Arc::clone(limits))?,
            compiler: ModuleCompiler::new(parts.compiler, Arc::clone(limits)),
            compiled: compiled.keeping(COMPILED_MAX),
            bytes: parts.bytes,
            rules: parts.rules,
            loaded: Mutex::default(),
            compiling: tokio::sync::Mutex::default(),
            calls: Arc::new(Semaphore::new(usize::try_from(limits.module_calls).unwrap_or(usize::MAX))),
        })
    }

    /// A place for one call.
    ///
    /// # Errors
    /// `overloaded` when as many modules run as may.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            Error::new(Code::Overloaded, "as many custom modules run as may at once (limits.module_calls)")
        })
    }

    /// The largest profile that a module may need here.
    pub(crate) const fn admitted(&self) -> ProfileDef {
        self.rules.admitted()
    }

    /// The module of a connector, ready to be called.
    ///
    /// # Errors
    /// `module_forbidden` if it needs another profile than the connector has or the platform allows now. `internal` if its
    /// bytes are gone or were changed, or it cannot be compiled any more.
    pub(crate) async fn load(&self, runtime: &Runtime) -> Result<Module, Error> {
        let forbidden = |profile: ProfileDef| {
            let profile = profile.as_str();
            let detail =
                format!("the connector's module has the profile {profile}, which is not allowed here");
            Error::new(Code::ModuleForbidden, detail)
        };
        if runtime.profile > self.admitted() {
            return Err(forbidden(runtime.profile));
        }
        let module = self.loaded(&runtime.module).await?;
        if module.profile() > runtime.profile { Err(forbidden(module.profile())) } else { Ok(module) }
    }

    async fn loaded(&self, digest: &str) -> Result<Module, Error> {
        if let Some(module) = lock(&self.loaded).get(digest) {
            return Ok(module.clone());
        }
        let bytes = self.bytes(digest).await?;
        let (module, _) = self.compile(&bytes).await.map_err(|error| {
            tracing::error!(digest, %error, "a stored module cannot be compiled");
            Error::plain(Code::Internal)
        })?;
        self.remember(digest, &module);
        Ok(module)
    }

    fn remember(&self, digest: &str, module: &Module) {
        let mut loaded = lock(&self.loaded);
        if loaded.len() >= LOADED_MAX {
            // Why any: which one is used next is not known, and each comes back from its file.
            let one = loaded.keys().next().cloned();
            one.and_then(|one| loaded.remove(&one));
        }
        loaded.insert(digest.to_owned(), module.clone());
    }

    async fn bytes(&self, digest: &str) -> Result<Arc<[u8]>, Error> {
        match self.bytes.read(hex_of(digest)).await {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => {
                tracing::error!(digest, "the bytes of a module are gone from where they are kept");
                Err(Error::new(Code::Internal, "the connector's module is not where modules are kept"))
            }
            Err(error) => {
                tracing::error!(digest, %error, "the bytes of a module cannot be read");
                Err(Error::plain(Code::Internal))
            }
        }
    }

    /// The module and how long it took to compile, if it was not kept.
    async fn compile(&self, bytes: &Arc<[u8]>) -> Result<(Module, Option<(u64, u64)>), CompileError> {
        offload::to_worker().await;
        if let Some(module) = self.sandbox.kept(bytes, &self.compiled) {
            return Ok((module, None));
        }
        let _alone = self.compiling.lock().await;
        if let Some(module) = self.sandbox.kept(bytes, &self.compiled) {
            return Ok((module, None));
        }
        let made = self.compiler.compile(Arc::clone(bytes)).await?;
        offload::to_worker().await;
        let took = u64::try_from(made.took.as_millis()).unwrap_or(u64::MAX);
        let module = self.sandbox.adopt(bytes, &made, &self.compiled);
        let module = module.map_err(|error| CompileError::Invalid(error.to_string()))?;
        Ok((module, Some((took, made.native_bytes()))))
    }
}

/// Admits and stores a module: its report says what it is, and why it is refused.
///
/// # Errors
/// `role_not_allowed`, `module_refused` with the report.
pub async fn upload(
    engine: &Engine,
    caller: &Caller,
    bytes: Arc<[u8]>,
    signature: Option<&str>,
) -> Result<Admitted, Error> {
    caller.platform()?;
    admit(engine, bytes, signature).await
}

pub(crate) async fn admit(
    engine: &Engine,
    bytes: Arc<[u8]>,
    signature: Option<&str>,
) -> Result<Admitted, Error> {
    offload::to_worker().await;
    let (resources, modules) = (&engine.resources, &engine.modules);
    let mut report = inspect(&bytes, modules.admitted(), &resources.limits);
    let hex = hex_of(&report.digest).to_owned();
    if let Err(problem) =
        modules.rules.trusted_keys.check(&report.digest, signature, modules.rules.require_signature)
    {
        report.problems.push(problem);
    }
    if !report.problems.is_empty() {
        return Err(refused(report));
    }
    if let Some(report) = report_of(resources, &report.digest).await? {
        return Ok(Admitted { report, is_new: false });
    }
    let stored = resources.records.list::<ModuleRecord>(&[], None, usize::MAX).await?.len() as u64;
    if stored >= resources.limits.modules {
        let limit = resources.limits.modules;
        let detail = format!("{limit} modules are kept (limits.modules); delete one that nothing uses");
        return Err(Error::new(Code::InUse, detail));
    }
    let module = match modules.compile(&bytes).await {
        Ok((module, took)) => {
            (report.compile_ms, report.native_bytes) = took.unzip();
            module
        }
        Err(error @ CompileError::NotStarted(_)) => {
            tracing::error!(%error, "a module cannot be compiled");
            return Err(Error::new(Code::Internal, "the compiler of modules cannot be started"));
        }
        Err(error) => {
            report.problems.push(compile_problem(&error));
            return Err(refused(report));
        }
    };
    if let Err(error) = modules.bytes.write(&hex, bytes).await {
        tracing::error!(%error, "a module cannot be written");
        return Err(Error::plain(Code::StoreUnavailable));
    }
    let record = ModuleRecord {
        digest: report.digest.clone(),
        report: serde_json::to_value(&report).map_err(|_| Error::plain(Code::Internal))?,
        created_at: clock::now(),
    };
    match resources.commit(Writes::new().create(&[&hex], &record)).await {
        // Why not an error: somebody else uploaded the same bytes meanwhile.
        Ok(_) | Err(StoreError::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    modules.remember(&report.digest, &module);
    Ok(Admitted { report, is_new: true })
}

fn refused(report: ModuleReport) -> Error {
    let detail = match report.problems.as_slice() {
        [one] => format!("{}: {}; {}", one.code, one.message, one.mend),
        several => format!("{} problems; see report", several.len()),
    };
    let violations = report.problems.iter().map(|problem| {
        let code = CODES.iter().find(|code| **code == problem.code).copied().unwrap_or("module_refused");
        Violation::new("", code, format!("{}; {}", problem.message, problem.mend))
    });
    let violations = violations.collect();
    Error { module: Some(Box::new(report)), violations, ..Error::new(Code::ModuleRefused, detail) }
}

fn compile_problem(error: &CompileError) -> ModuleProblem {
    match error {
        CompileError::Timeout(_) => ModuleProblem::new(
            "compile_timeout",
            error.to_string(),
            "make it smaller, or raise limits.module_compile_ms",
        ),
        CompileError::Ended(_) => ModuleProblem::new(
            "compile_failed",
            error.to_string(),
            "upload it again; if it ends the same way, make it smaller or raise limits.module_compile_bytes",
        ),
        _ => ModuleProblem::new(
            "compile_failed",
            error.to_string(),
            "build it with the tools of `portcullis module new`, without proposals of WebAssembly beyond them",
        ),
    }
}

fn read_report(record: &ModuleRecord) -> Result<ModuleReport, Error> {
    serde_json::from_value(record.report.clone()).map_err(|_| Error::plain(Code::Internal))
}

async fn find(resources: &Resources, digest: &str) -> Result<(ModuleRecord, u64), Error> {
    let missing = || Error::new(Code::NotFound, "there is no module with that digest");
    if !is_digest(digest) {
        return Err(missing());
    }
    resources.records.get::<ModuleRecord>(&[hex_of(digest)]).await?.ok_or_else(missing)
}

/// The report of a module, if it is stored.
pub(crate) async fn report_of(resources: &Resources, digest: &str) -> Result<Option<ModuleReport>, Error> {
    let found = resources.records.get::<ModuleRecord>(&[hex_of(digest)]).await?;
    found.map(|(record, _)| read_report(&record)).transpose()
}

/// Lists modules, ordered by digest.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    wanted: &PageRequest,
) -> Result<Page<ModuleRecord>, Error> {
    caller.platform()?;
    let after = wanted.after().map(|digest| hex_of(digest).to_owned());
    let found = engine.resources.records.list::<ModuleRecord>(&[], after.as_deref(), wanted.wanted()).await?;
    Ok(wanted.page(found.into_iter().map(|(_, record, _)| record).collect()))
}

/// Reads a module's report.
///
/// # Errors
/// `role_not_allowed`, `not_found`.
pub async fn show(engine: &Engine, caller: &Caller, digest: &str) -> Result<ModuleRecord, Error> {
    caller.platform()?;
    Ok(find(&engine.resources, digest).await?.0)
}

/// Deletes a module that no connector uses.
///
/// # Errors
/// `role_not_allowed`, `not_found`, `in_use`.
pub async fn delete(engine: &Engine, caller: &Caller, digest: &str) -> Result<(), Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let (_, commit) = find(resources, digest).await?;
    let users = users_of(resources, digest).await?;
    if let Some(one) = users.first() {
        let detail =
            format!("connector {one} uses it, and {} in all; replace or delete them first", users.len());
        return Err(Error::new(Code::InUse, detail));
    }
    let hex = hex_of(digest).to_owned();
    let writes =
        Writes::new().require_revision::<ModuleRecord>(&[&hex], commit).delete::<ModuleRecord>(&[&hex]);
    resources.commit(writes).await?;
    lock(&engine.modules.loaded).remove(digest);
    if let Err(error) = engine.modules.bytes.remove(&hex).await {
        // Why no error: nothing refers to the bytes any more.
        tracing::warn!(%error, "the bytes of a deleted module could not be removed");
    }
    Ok(())
}

/// Ids of the connectors whose definition names a module.
async fn users_of(resources: &Resources, digest: &str) -> Result<Vec<String>, Error> {
    let names = |_: &str, record: &ConnectorRecord| {
        record.definition.pointer("/runtime/module").and_then(serde_json::Value::as_str) == Some(digest)
    };
    let found = resources.records.filter::<ConnectorRecord>(&[], names).await?;
    Ok(found.into_iter().map(|(_, record, _)| record.connector_id.as_str().to_owned()).collect())
}
