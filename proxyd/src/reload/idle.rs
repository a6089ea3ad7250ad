//! Tokens that were revoked for a provider that is not there any more: whoever recognises them by another name takes them.

use std::path::PathBuf;
use std::sync::Arc;

use shared::config::Remark;
use shared::config::problem::{Code, Severity};
use shared::control::ControlError;

use crate::daemon::Daemon;
use crate::identity::{Identities, State};
use crate::snapshot::Snapshot;

/// How many of one provider.
pub(super) struct Idle {
    provider: Arc<str>,
    tokens: usize,
}

/// What these identities leave behind.
pub(super) async fn of(
    daemon: &Daemon,
    identities: &Arc<Identities>,
    before: &Arc<Snapshot>,
) -> Result<Vec<Idle>, ControlError> {
    let (identities, before, state) = (Arc::clone(identities), Arc::clone(before), Arc::clone(&daemon.amid.identity));
    let count = move || since(&before.identities, &identities, &state);
    tokio::task::spawn_blocking(count).await.map_err(|error| super::broken(&error))
}

/// Those that are idle from these identities on. Looks through all that were revoked, where a provider is gone.
fn since(before: &Identities, identities: &Identities, state: &State) -> Vec<Idle> {
    let gone = identities.gone_since(before).into_iter();
    let counted = gone.map(|provider| Idle { tokens: state.revoked.count_of(&provider), provider });
    counted.filter(|idle| idle.tokens > 0).collect()
}

impl Idle {
    /// For whoever reloads.
    pub(super) fn remark(&self) -> Remark {
        let tokens = self.tokens;
        Remark {
            severity: Severity::Warning,
            code: Code::Unused,
            keys: vec!["identity".to_owned()],
            file: PathBuf::from(&*self.provider),
            message: format!(
                "is not there any more, and tokens were revoked for it ({tokens}): another name takes them"
            ),
            hint: Some("revoke them again, for the provider's new name or with `--provider '*'`".to_owned()),
        }
    }

    /// For the log.
    pub(super) fn tell(&self) {
        let Self { provider, tokens } = self;
        tracing::warn!(
            provider = &**provider,
            tokens,
            "tokens were revoked for a provider that is not there any more: another name takes them"
        );
    }
}
