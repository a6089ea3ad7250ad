//! What needs no daemon: configs read, checked, explained and shown here; a starter file; a chain proved from its files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde_json::{Value, json};
use shared::config::{Checked, Input, Problems, References, Severity, Sources, source};
use shared::control::report::{ConfigShown, Validated};
use shared::control::{ConfigArgs, ErrorCode, VerifyArgs};
use shared::routing::{Table, explain as told};

use crate::certificates;
use crate::cli::{Explain, Format, Init, Layers, Place, Validate};
use crate::failure::Failure;
use crate::render::{self, problems};
use crate::screen::Screen;

/// Reads and checks a config as a daemon started with the same arguments would.
pub(crate) fn load(config: &Path, layers: &Layers, references: &References<'_>) -> Result<Checked, Problems> {
    let sources = Sources { config: config.to_owned(), env: layers.env.clone(), set: layers.set.clone() };
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let input = Input::read(&sources, variables)?;
    shared::config::load(&input, references)
}

pub(crate) fn validate(args: &Validate, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let system = source::System;
    // The files behind references are only known when those are resolved.
    let references =
        if args.resolve || args.check_files { References::Resolve(&system) } else { References::Lenient(&system) };
    let told = match load(&args.config, &args.layers, &references) {
        Ok(mut checked) => {
            let mut problems = std::mem::take(&mut checked.warnings);
            if args.check_files {
                problems.extend(certificates::problems(&checked, screen.look.now));
            }
            Validated {
                valid: problems.iter().all(|problem| problem.severity == Severity::Warning),
                routes: checked.config.routes.len() as u64,
                upstreams: checked.config.upstreams.len() as u64,
                problems,
            }
        }
        Err(Problems(problems)) => Validated { valid: false, problems, ..Validated::default() },
    };
    let name = args.config.display();
    match screen.look.format {
        Format::Json => screen.page(&json!(told))?,
        Format::Table | Format::Csv => {
            screen.problems(&told.problems);
            let line = problems::validated(&told, &screen.look);
            if told.valid {
                screen.text(&format!("{} is {line}", render::text::plain(&name.to_string())))?;
            } else {
                let errors = told.problems.iter().filter(|problem| problem.severity == Severity::Error).count() as u64;
                screen.remark(&format!("{name} is invalid: {}", render::text::count(errors, "error", "errors")));
            }
        }
    }
    if told.valid { Ok(()) } else { Err(Failure::Printed) }
}

/// The config that `place` names, or why it cannot be used.
fn config_of(place: &Place) -> Result<Checked, Failure> {
    let config = place.given().unwrap_or_default();
    load(&config, &place.layers, &References::Lenient(&source::System)).map_err(|problems| {
        let message = format!("{} in {}", problems, config.display());
        let mut error = shared::control::ControlError::new(ErrorCode::ConfigInvalid, message);
        error.problems = problems.0;
        error.into()
    })
}

pub(crate) fn explain(args: &Explain, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let checked = config_of(&args.place)?;
    let table = Table::compile(&checked.config);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let explanation = told::explain(&checked.config, &table, &args.ask, here)?;
    match screen.look.format {
        Format::Json => screen.page(&json!(explanation)),
        Format::Table | Format::Csv => {
            let text = render::explanation(&explanation, &screen.look);
            screen.text(&text)
        }
    }
}

pub(crate) fn show(ask: &ConfigArgs, place: &Place, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let effective = config_of(place)?.effective();
    let origins = if ask.origin {
        effective.origins.iter().map(|(path, origin)| (path.clone(), origin.to_string())).collect()
    } else {
        Vec::new()
    };
    let shown = ConfigShown { generation: None, config: effective.tree, origins };
    match screen.look.format {
        Format::Json => screen.page(&json!(shown)),
        Format::Table | Format::Csv => screen.text(&render::config(&shown)),
    }
}

pub(crate) fn init(args: &Init, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let file = args.file.display();
    let mut options = OpenOptions::new();
    options.write(true);
    // Made only where nothing is, so that of two who try at once one is told.
    let opened =
        if args.force { options.create(true).truncate(true) } else { options.create_new(true) }.open(&args.file);
    opened.and_then(|mut opened| opened.write_all(shared::config::starter().as_bytes())).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            Failure::new(ErrorCode::Failed, format!("{file} is there already")).hint("Replace it with --force.")
        } else {
            Failure::new(ErrorCode::Failed, format!("{file} cannot be written: {error}"))
        }
    })?;
    match screen.look.format {
        Format::Json => screen.page(&json!({ "written": args.file })),
        Format::Table | Format::Csv => {
            screen.text(&format!("wrote {file}\nnext: proxyctl validate {file}, then proxyd --config {file}"))
        }
    }
}

pub(crate) fn verify(path: &Path, ask: &VerifyArgs, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(ErrorCode::Failed, format!("{} cannot be verified: {error}", path.display()))
            .hint("Name the folder of segments: `audit.path` of the daemon, by default data/audit beside its config.")
    };
    let head = ask.head.as_deref().map(str::parse::<records::Head>).transpose();
    let head = head.map_err(|error| Failure::new(ErrorCode::InvalidArguments, format!("--head: {error}")))?;
    let heads: Vec<records::Head> = head.into_iter().collect();
    let told = records::verify(path, &heads, &|| true).map_err(|error| failed(&error))?;
    let intact = told.intact;
    match screen.look.format {
        Format::Json => {
            let mut value: Value = json!(told);
            render::time::add_iso(&mut value);
            screen.page(&value)?;
        }
        Format::Table | Format::Csv => {
            let text = render::audit::verified(&told, &screen.look);
            screen.text(&text)?;
        }
    }
    if intact { Ok(()) } else { Err(Failure::Printed) }
}
