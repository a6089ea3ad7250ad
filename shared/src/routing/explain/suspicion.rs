//! What the policy `threats` would do with the request: which rules find something, never what.

use crate::config::policy::{ThreatMode, Threats};
use crate::decide::threats::{Arriving, Facts, Scores, judge, misfit};

use super::asked::Asked;
use super::effects::joined;

pub(super) fn effect(policy: &Threats, asked: &Asked, path: &str) -> String {
    let watches = if policy.mode == ThreatMode::Shadow { "; only watches" } else { "" };
    let announced: Option<u64> = asked.header("content-length").and_then(|text| text.parse().ok());
    let named = |name: &'static str| asked.lines().filter(move |(line, _)| *line == name);
    let mut types = named("content-type").map(|(_, value)| value);
    let (content_type, is_ambiguous) = (types.next(), types.next().is_some());
    let arriving = Arriving {
        method: &asked.method,
        has_body: announced.is_some_and(|bytes| bytes > 0) || asked.header("transfer-encoding").is_some(),
        announced,
        content_type: content_type.filter(|_| !is_ambiguous),
        is_ambiguous,
        is_encoded: named("content-encoding").any(|(_, coding)| !coding.eq_ignore_ascii_case(b"identity")),
    };
    if let Some(misfit) = misfit(&policy.shape, &arriving) {
        return format!("refuses with {}: {}{watches}", misfit.status(), misfit.code());
    }
    let facts = Facts { raw_path: &asked.path, path, query: &asked.query };
    let judgement = judge(&Scores::of(policy), &facts, asked.lines());
    let Some(worst) = judgement.worst() else { return format!("finds nothing{watches}") };
    let rules = joined(judgement.rules().map(|(rule, points)| format!("{} {points}", rule.name())));
    let (score, most) = (judgement.score(), policy.score);
    if score < most {
        return format!("lets it pass: {score} of {most} ({rules}){watches}");
    }
    format!("refuses with 403: {}, {score} of {most} ({rules}){watches}", worst.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::{JsonShape, Shape};
    use crate::control::ExplainArgs;

    #[track_caller]
    fn check(mode: ThreatMode, request: &str, headers: &[&str], expected: &str) {
        let (method, url) = request.split_once(' ').unwrap();
        let headers = headers.iter().map(|line| (*line).to_owned()).collect();
        let args = ExplainArgs { method: method.into(), url: url.into(), headers, from: None };
        let asked = Asked::parse(&args, "10.0.0.1".parse().unwrap()).unwrap();
        let shape = Shape {
            methods: vec!["GET".into(), "POST".into()],
            content_types: Vec::new(),
            json: Some(JsonShape { max_bytes: 10, max_depth: 3 }),
        };
        let policy = Threats { mode, score: 5, rules: vec![("null_byte".into(), 2)], shape };
        assert_eq!(effect(&policy, &asked, &asked.path), expected);
    }

    #[test]
    fn it_is_told_which_rules_find_something() {
        use ThreatMode::{Block, Shadow};
        let attack = "GET http://h/?a=../../x%00";
        let refuses = "refuses with 403: threat_traversal, 7 of 5 (traversal 5, null_byte 2)";
        check(Block, attack, &[], refuses);
        check(Shadow, attack, &[], &format!("{refuses}; only watches"));
        check(
            Block,
            "GET http://h/",
            &["User-Agent: sqlmap"],
            "refuses with 403: threat_scanner_agent, 5 of 5 (scanner_agent 5)",
        );
        check(Block, "GET http://h/?a=%00", &[], "lets it pass: 2 of 5 (null_byte 2)");
        check(Block, "GET http://h/?a=b", &[], "finds nothing");
        check(Block, "PUT http://h/", &[], "refuses with 405: threat_method");
        let json = "content-type: application/json";
        check(Block, "POST http://h/", &[json, "content-length: 11"], "refuses with 413: threat_json_size");
        check(Block, "POST http://h/", &[json, "content-length: 10"], "finds nothing");
        check(
            Block,
            "POST http://h/",
            &[json, "content-length: 9", "content-encoding: gzip"],
            "refuses with 415: threat_content_type",
        );
    }
}
