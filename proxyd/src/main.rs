//! The daemon's entry: reads the command line, and leaves the rest to `boot`.

use std::process::ExitCode;

use clap::Parser;
use proxyd::boot::{self, Args};

fn main() -> ExitCode {
    match boot::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            boot::print(&error);
            ExitCode::FAILURE
        }
    }
}
