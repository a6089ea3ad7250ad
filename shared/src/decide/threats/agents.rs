//! Programs that look for holes, by what they call themselves. Not those that only list what is there.

/// Whether a word in a `user-agent` begins as one of them does.
pub(super) fn is_scanner(agent: &[u8]) -> bool {
    let mut within_word = false;
    for (at, octet) in agent.iter().enumerate() {
        let starts = !std::mem::replace(&mut within_word, octet.is_ascii_alphanumeric());
        if starts && within_word {
            let rest = agent.get(at..).unwrap_or_default();
            if beginning_with(octet.to_ascii_lowercase()).iter().any(|word| begins(rest, word)) {
                return true;
            }
        }
    }
    false
}

fn begins(rest: &[u8], word: &str) -> bool {
    // Most differ here already.
    let second = |text: &[u8]| text.get(1).map(u8::to_ascii_lowercase);
    second(rest) == second(word.as_bytes())
        && rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// Their names, by the first octet. One with a slash is the name of something else too.
fn beginning_with(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["acunetix", "arachni", "appscan"],
        b'b' => &["bsqlbf", "burpsuite", "burp suite", "burpcollaborator"],
        b'c' => &["cmsmap", "commix", "cgichk"],
        b'd' => &["dirbuster", "dirb/", "dirsearch", "droopescan", "dalfox", "domino scanner"],
        b'f' => &["fuzz faster u fool", "ffuf", "feroxbuster", "fimap"],
        b'g' => &["greenbone", "gobuster", "grendel-scan", "golismero"],
        b'h' => &["havij"],
        b'i' => &["invicti", "interactsh"],
        b'j' => &["jaeles", "joomscan", "joomla scanner", "jorgee"],
        b'l' => &["l9explore", "l9tcpid", "libredtail", "log4j-scan"],
        b'm' => &["masscan", "metasploit", "morfeus", "muieblackcat"],
        b'n' => &["nikto", "nmap scripting engine", "nmap", "nessus", "netsparker", "nuclei", "nosqlmap", "n-stealth"],
        b'o' => &["openvas", "owasp zap"],
        b'p' => &["paros/", "project25499"],
        b'q' => &["qualys"],
        b'r' => &["rustbuster"],
        b's' => &["sqlmap", "skipfish", "sqlninja", "sqlsus", "subfinder", "struts-pwn"],
        b't' => &["thc-hydra", "tplmap"],
        b'u' => &["uniscan"],
        b'v' => &["vega/"],
        b'w' => &[
            "wvs/",
            "wpscan",
            "wprecon",
            "wfuzz",
            "w3af",
            "whatweb",
            "webinspect",
            "wapiti",
            "whatwaf",
            "wafw00f",
            "webshag",
        ],
        b'x' => &["xsser", "xsstrike"],
        b'z' => &["zgrab", "zmap", "zmeu", "zaproxy", "zm-scanner"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agent: &str, expected: bool) {
        assert_eq!(is_scanner(agent.as_bytes()), expected, "{agent}");
    }

    #[test]
    fn scanners_are_known_by_their_words() {
        check("", false);
        check("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0", false);
        check("ory/hydra", false);
        check("mysqlmap", false);
        check("paros travel guide", false);
        check("SQLMAP/1.7", true);
        check("Mozilla/5.0 (Nikto/2.1.6)", true);
        check("x;fuzz faster u fool", true);
        check("paros/3.2", true);
    }

    #[test]
    fn each_name_is_found() {
        for first in b'0'..=b'z' {
            for word in beginning_with(first) {
                assert_eq!((word.as_bytes().first(), *word), (Some(&first), &*word.to_lowercase()));
                check(word, true);
            }
        }
    }
}
