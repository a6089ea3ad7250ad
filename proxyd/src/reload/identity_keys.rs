//! Looks after the keys that providers show at URLs: fetches run for the verifiers in force, on the control thread, and end
//! with them.

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::identity::jwt::{self, KeySource, Verifier};
use crate::outside::Outside;

/// The fetches that run; they end with this.
#[derive(Default)]
pub struct KeyFetches {
    running: Vec<Running>,
    /// The control thread's own: none of a worker's connections is used here.
    outside: Arc<Outside>,
}

struct Running {
    source: Arc<KeySource>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyFetches {
    /// Begins what is missing, and ends what nobody needs. A source that is still in force goes on undisturbed.
    pub fn follow<'a>(&mut self, verifiers: impl Iterator<Item = &'a Arc<Verifier>>) {
        let mut before = std::mem::take(&mut self.running);
        for source in verifiers.filter_map(|verifier| verifier.source()) {
            let begin = || {
                let task = tokio::spawn(jwt::tend(Arc::clone(source), Arc::clone(&self.outside)));
                Running { source: Arc::clone(source), task: task.abort_handle() }
            };
            let same = before.iter().position(|running| Arc::ptr_eq(&running.source, source));
            let running = same.map_or_else(begin, |same| before.swap_remove(same));
            self.running.push(running);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::config::identity::{Jwt, JwtKeys};

    use super::*;
    use crate::identity::jwt::Revocations;

    #[derive(Debug)]
    struct Nothing;

    impl Revocations for Nothing {
        fn epoch(&self) -> u64 {
            0
        }

        fn is_revoked(&self, _: &str, _: &str) -> bool {
            false
        }
    }

    fn verifier(name: &str, url: &str) -> Arc<Verifier> {
        let (refresh, floor, timeout) = (Duration::from_hours(1), Duration::from_secs(1), Duration::from_secs(1));
        let config = Jwt {
            name: name.into(),
            from: Vec::new(),
            keys: JwtKeys::JwksUrl { url: url.into(), refresh, floor, timeout },
            algorithms: Vec::new(),
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::ZERO,
            require: Vec::new(),
            require_exp: true,
            max_age: None,
            user_claim: "sub".into(),
            roles_claim: "roles".into(),
            scopes_claim: "scope".into(),
        };
        let revoked: Arc<dyn Revocations> = Arc::new(Nothing);
        Verifier::compile(&Arc::new(config), None, &revoked).unwrap()
    }

    #[tokio::test]
    async fn fetches_end_with_their_verifiers_and_the_others_go_on() {
        let (one, other) = (verifier("one", "http://127.0.0.1:1/"), verifier("other", "http://127.0.0.1:1/"));
        let mut fetches = KeyFetches::default();
        fetches.follow([&one, &other].into_iter());
        let ids = |fetches: &KeyFetches| fetches.running.iter().map(|running| running.task.id()).collect::<Vec<_>>();
        let first = ids(&fetches);
        let ended = fetches.running[1].task.clone();
        fetches.follow([&one].into_iter());
        assert_eq!(ids(&fetches), first[..1]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(ended.is_finished() && !fetches.running[0].task.is_finished());
        drop(fetches);
    }
}
