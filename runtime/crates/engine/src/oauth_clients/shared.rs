//! The clients that a connection may use, as stored: the org's wins over the platform's. Nothing is opened here.

use std::sync::Arc;

use portcullis_core::connector::Connector;
use portcullis_core::id::OrgId;
use portcullis_core::target::Target;
use portcullis_egress::sealed_for;
use portcullis_store::{
    ClientOwner, NotedClient, OAuthClientRecord, OwnedBinding, PLATFORM_SCOPE, Records, StoreError,
};

use super::binding;

/// The shared clients of one method of a connector.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedClients {
    org: Option<SharedClient>,
    platform: Option<SharedClient>,
}

/// A shared client.
#[derive(Debug, Clone)]
pub(crate) struct SharedClient {
    owner: ClientOwner,
    /// The scope that it is sealed for.
    scope: Arc<str>,
    pub(crate) record: Arc<OAuthClientRecord>,
}

impl SharedClients {
    /// Reads them; none for a method whose client cannot be shared. `connector` is the one under that method.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn load(
        records: &Records,
        org: &OrgId,
        connector: &Connector,
        method: &str,
    ) -> Result<Self, StoreError> {
        if !connector.auth.client.may_be_shared {
            return Ok(Self::default());
        }
        let place = [connector.id.as_str(), method];
        Ok(Self {
            org: read(records, ClientOwner::Org, org.as_str(), place).await?,
            platform: read(records, ClientOwner::Platform, PLATFORM_SCOPE, place).await?,
        })
    }

    /// The one that a new token is obtained with.
    pub(crate) fn current(&self) -> Option<&SharedClient> {
        self.org.as_ref().or(self.platform.as_ref())
    }

    /// The one that something was obtained with; `None` if it is gone or has another id.
    pub(crate) fn noted(&self, noted: &NotedClient) -> Option<&SharedClient> {
        let own = match noted.owner {
            ClientOwner::Org => self.org.as_ref(),
            ClientOwner::Platform => self.platform.as_ref(),
        };
        own.filter(|client| client.noted().is_same(noted))
    }
}

async fn read(
    records: &Records,
    owner: ClientOwner,
    scope: &str,
    [connector, method]: [&str; 2],
) -> Result<Option<SharedClient>, StoreError> {
    let found = records.get_shared::<OAuthClientRecord>(&[scope, connector, method]).await?;
    Ok(found.map(|(record, _)| SharedClient { owner, scope: scope.into(), record }))
}

impl SharedClient {
    /// What is noted with a token that is obtained with it.
    pub(crate) fn noted(&self) -> NotedClient {
        NotedClient {
            owner: self.owner,
            client_id: self.record.client_id.clone(),
            revision: self.record.revision,
        }
    }

    /// Whether it has a value for a field.
    pub(crate) fn supplies(&self, name: &str) -> bool {
        self.record.fields.iter().any(|own| own == name)
    }

    /// Names of the fields of a connector that it has a value for.
    pub(crate) fn supplied(&self, connector: &Connector) -> Vec<String> {
        let names = connector.auth.client.names.iter();
        names.filter(|name| self.supplies(name)).cloned().collect()
    }

    /// Whether it was saved for the host of this URL. Compared again inside the seal.
    pub(crate) fn is_for(&self, url: &str) -> bool {
        let target = Target::parse(url.as_bytes(), url.len() as u64);
        target.is_ok_and(|target| sealed_for(&self.record.allowed_hosts, target.host()))
    }

    /// What its secrets are bound to.
    pub(crate) fn binding(&self) -> OwnedBinding {
        binding(&self.scope, &self.record)
    }
}
