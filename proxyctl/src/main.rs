//! The binary: sets up what the library needs of a process, and turns its verdict into an exit code.

use std::process::ExitCode;

use anyhow::Context;
use proxyctl::Surroundings;
use proxyctl::screen::{Look, Screen};

fn main() -> anyhow::Result<ExitCode> {
    let cli = proxyctl::parse();
    // Only one provider is linked; that it cannot be installed twice does not matter here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")?;
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut screen = Screen::new(Look::of_process(cli.global.output), &mut out, &mut err);
    let code = runtime.block_on(proxyctl::run(&cli, &Surroundings::of_process(), &mut screen));
    // A name look-up may still sit in a thread of its own; nobody waits for it.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}
