//! A component, checked and compiled, ready to be instantiated for each call. Runs nothing.

use portcullis_core::definition::ProfileDef;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};

use crate::admission::{self, HANDLER};
use crate::bindings::ModulePre;
use crate::call_state::CallState;
use crate::engine::Sandbox;
use crate::fault::LoadError;

/// A loaded component. Cloning shares the code; instances share nothing.
#[derive(Clone)]
pub struct Module {
    pub(crate) pre: ModulePre<CallState>,
    profile: ProfileDef,
}

impl Module {
    /// The smallest profile that has all it imports.
    #[must_use]
    pub const fn profile(&self) -> ProfileDef {
        self.profile
    }
}

impl Sandbox {
    /// Checks and compiles a component.
    ///
    /// # Errors
    /// [`LoadError`] for a forbidden import, or for bytes that are no such component.
    pub fn load(&self, bytes: &[u8]) -> Result<Module, LoadError> {
        self.module(&self.compile(bytes)?)
    }

    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        // Why not the handler that ships with the product: its size is not somebody else's choice.
        if self.guest.is_module && bytes.len() as u64 > self.limits.module_bytes {
            return Err(LoadError::TooLarge { bytes: bytes.len(), limit: self.limits.module_bytes });
        }
        Component::from_binary(&self.engine, bytes).map_err(|e| LoadError::Invalid(format!("{e:#}")))
    }

    /// The module, if the component imports nothing else and exports the handler.
    pub(crate) fn module(&self, component: &Component) -> Result<Module, LoadError> {
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        let kind = component.component_type();
        let imports = || kind.imports(&self.engine).map(|(name, _)| name);
        let profile = match imports().find(|name| !self.interfaces.contains(name)) {
            None => ProfileDef::Pure,
            Some(_)
                if self.std_linker.is_some()
                    && imports().all(|name| admission::has(ProfileDef::Std, name)) =>
            {
                ProfileDef::Std
            }
            Some(name) => return Err(LoadError::ForbiddenImport(name.to_owned())),
        };
        if !kind.exports(&self.engine).any(|(name, _)| name == HANDLER) {
            return Err(LoadError::NoHandler);
        }
        let own;
        let linker = match &self.std_linker {
            Some(linker) if profile == ProfileDef::Std => {
                own = trapping(linker, component).map_err(invalid)?;
                &own
            }
            _ => &*self.linker,
        };
        let pre = linker.instantiate_pre(component).map_err(invalid)?;
        Ok(Module { pre: ModulePre::new(pre).map_err(invalid)?, profile })
    }
}

/// The linker with traps behind the interfaces that a module of `std` may name and that have nothing behind them. Why by
/// hand: the engine's own stand-ins would also take the place of what is linked in another version of 0.2.
fn trapping(linker: &Linker<CallState>, component: &Component) -> wasmtime::Result<Linker<CallState>> {
    let engine = linker.engine().clone();
    let mut own = linker.clone();
    // Types of resources belong to the interface that came first; the others only use them.
    let mut known = Vec::new();
    for (name, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        let is_trap = admission::is_trap(name);
        for (item, export) in interface.exports(&engine) {
            match export.ty {
                ComponentItem::Resource(resource) if !known.contains(&resource) => {
                    known.push(resource);
                    if is_trap {
                        let kind = ResourceType::host::<()>();
                        own.instance(name)?.resource(item, kind, |_, _| Ok(()))?;
                    }
                }
                ComponentItem::ComponentFunc(_) if is_trap => {
                    let called = format!("{name}#{item} is not available");
                    own.instance(name)?.func_new(item, move |_, _, _, _| wasmtime::bail!("{called}"))?;
                }
                _ => {}
            }
        }
    }
    Ok(own)
}
