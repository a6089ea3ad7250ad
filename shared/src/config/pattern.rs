//! Regular expressions of a config: compiled once, in linear time by nature, bounded in size.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::Pattern;
use super::problem::Code;
use super::report::Fault;

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 4 << 10;
/// The largest compiled form, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Compiles a pattern.
pub(super) fn compile(text: &str) -> Result<Pattern, Fault> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err(Fault::invalid(format!("a pattern has 1 to {MAX_BYTES} bytes")));
    }
    let config = Regex::config()
        .nfa_size_limit(Some(MAX_COMPILED_BYTES))
        .onepass_size_limit(Some(MAX_COMPILED_BYTES))
        .hybrid_cache_capacity(MAX_COMPILED_BYTES);
    let built = Regex::builder().configure(config).syntax(syntax::Config::new().nest_limit(64)).build(text);
    match built {
        Ok(regex) => Ok(Pattern { text: text.into(), regex }),
        Err(error) if error.size_limit().is_some() => Err(Fault::new(Code::TooLarge, "this pattern becomes too large")
            .hint("smaller repetition counts make it smaller")),
        Err(error) => {
            // The last line of a syntax error says what is wrong; those above quote the pattern.
            let text = error.syntax_error().map(ToString::to_string).unwrap_or_default();
            let reason =
                text.lines().last().and_then(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be compiled");
            Err(Fault::invalid(format!("this is not a pattern: {reason}")))
        }
    }
}

/// Checks that every group that a replacement names is there: `$1`, `${1}`, `${name}`; `$$` is a dollar.
pub(super) fn check_replacement(to: &str, pattern: &Pattern) -> Result<(), Fault> {
    let groups = pattern.regex.group_info();
    let mut rest = to;
    while let Some(at) = rest.find('$') {
        let tail = rest.get(at + 1..).unwrap_or_default();
        if let Some(tail) = tail.strip_prefix('$') {
            rest = tail;
            continue;
        }
        let (name, tail) = match tail.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or_else(|| Fault::invalid("this `${` has no closing brace"))?,
            None => tail.split_at(tail.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()),
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < groups.group_len(regex_automata::PatternID::ZERO),
            Err(_) => groups.to_index(regex_automata::PatternID::ZERO, name).is_some(),
        };
        if !known {
            return Err(Fault::new(Code::UnknownName, "this names a group that the pattern does not have")
                .hint("write `$$` for a dollar, `${1}x` where a letter follows a number"));
        }
        rest = tail;
    }
    Ok(())
}
