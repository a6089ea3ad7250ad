//! Threads that write down what workers serve. Workers themselves are started by `worker`.

use std::io;
use std::thread::{Builder, JoinHandle};

/// How much less of a core such a thread gets where a worker wants the same one (`nice`: about a third).
const NICENESS: i32 = 5;

/// Starts a thread that lets workers go first: what is served is written down a little later rather than that requests wait
/// for it.
pub fn behind_workers(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux each thread has a niceness of its own. To have less of the processor is never refused.
        let _ = rustix::process::nice(NICENESS);
        run();
    })
}
