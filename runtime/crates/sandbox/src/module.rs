//! A component, checked and compiled, ready to be instantiated for each call. Runs nothing.

use wasmtime::component::Component;

use crate::admission::HANDLER;
use crate::bindings::ModulePre;
use crate::call_state::CallState;
use crate::engine::Sandbox;
use crate::fault::LoadError;

/// A loaded component. Cloning shares the code; instances share nothing.
#[derive(Clone)]
pub struct Module {
    pub(crate) pre: ModulePre<CallState>,
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
        let kind = component.component_type();
        for (name, _) in kind.imports(&self.engine) {
            if !self.interfaces.contains(&name) {
                return Err(LoadError::ForbiddenImport(name.to_owned()));
            }
        }
        if !kind.exports(&self.engine).any(|(name, _)| name == HANDLER) {
            return Err(LoadError::NoHandler);
        }
        let pre = self.linker.instantiate_pre(component).map_err(|e| LoadError::Invalid(format!("{e:#}")))?;
        let pre = ModulePre::new(pre).map_err(|e| LoadError::Invalid(format!("{e:#}")))?;
        Ok(Module { pre })
    }
}
