//! The section `audit`: which requests are recorded, where, and for how long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::reader::is_word;

/// `audit`. Actions are always recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub requests: RequestAudit,
    /// The folder of the segments. Cannot change while running.
    pub path: PathBuf,
    /// The longest time a request row waits for its commit.
    pub flush: Duration,
    pub when_full: WhenFull,
    pub keep: Keep,
}

/// Which requests become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAudit {
    All,
    /// Those answered with 400 or above, and those that were cut short.
    Errors,
    Off,
}

/// What a request meets when there is no room for its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits up to a second, then is refused.
    Wait,
    /// It is served, and its missing row is counted into a gap.
    Shed,
}

/// How long rows are kept; whichever bound is met first. None: no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub days: Option<u32>,
    pub size_bytes: Option<u64>,
}

static KEEP: Section = Section {
    name: "audit.keep",
    doc: "How long rows are kept; whichever bound is met first.",
    fields: &[&[
        Field::new("days", Kind::Or("off", &Kind::Integer { min: 1, max: 36_500 }), "Days; `off`: no such bound.")
            .default("30"),
        Field::new(
            "size",
            Kind::Or("off", &Kind::Size { min: "16MiB", max: "1024TiB" }),
            "Size of the store; `off`: no such bound.",
        )
        .default("10GiB"),
    ]],
};

/// The declaration of the section.
pub(super) static AUDIT: Section = Section {
    name: "audit",
    doc: "Which requests are recorded, where, and for how long. Actions are always recorded.",
    fields: &[&[
        Field::new("requests", Kind::Choice(&["all", "errors", "off"]), "Which requests become rows; `errors`: those answered with 400 or above, and those cut short.").default("all"),
        Field::new("path", Kind::Or("auto", &Kind::Text { what: "a path", sample: "audit" }), "The folder of the store; `auto`: `audit` in `server.state_dir`. Changing it needs a restart.").default("auto"),
        Field::new("flush", Kind::Duration { min: "1ms", max: "1m" }, "The longest time a request row waits for its commit.").default("200ms"),
        Field::new("when_full", Kind::Choice(&["wait", "shed"]), "What a request meets when there is no room for its row: `wait` up to a second and be refused then, or be served and its row counted as missing (`shed`).").default("wait"),
        Field::new("keep", Kind::Section(&KEEP), "How long rows are kept.").filled(),
    ]],
};

/// Reads the section. `state_dir` is where an automatic path lies.
pub(super) fn read(fields: &mut Fields<'_, '_>, state_dir: &Path) -> Option<Audit> {
    let words = [("all", RequestAudit::All), ("errors", RequestAudit::Errors), ("off", RequestAudit::Off)];
    let requests = fields.choice("requests", &words);
    let path = fields.scalar("path", |reader, node, field| {
        if is_word(node, "auto") { Some(state_dir.join("audit")) } else { reader.file_path(node, &field.kind) }
    });
    let flush = fields.duration("flush");
    let when_full = fields.choice("when_full", &[("wait", WhenFull::Wait), ("shed", WhenFull::Shed)]);
    let keep = fields.section("keep", |fields| {
        let days = fields.scalar("days", |reader, node, field| {
            if is_word(node, "off") {
                return Some(None);
            }
            reader.integer(node, &field.kind).and_then(|days| u32::try_from(days).ok()).map(Some)
        });
        let size_bytes = fields.scalar("size", |reader, node, field| {
            if is_word(node, "off") { Some(None) } else { reader.size(node, &field.kind).map(Some) }
        });
        Some(Keep { days: days?, size_bytes: size_bytes? })
    });
    Some(Audit { requests: requests?, path: path?, flush: flush?, when_full: when_full?, keep: keep? })
}
