//! What the rules look for, as regular expressions over decoded octets. Case is ignored. A pattern is clear where honest requests do
//! not hold it, faint where some do; the tables in `tests` say which requests those are.

use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::{Rule, Trace};

/// A rule's patterns, compiled.
pub(super) struct Patterns {
    /// All of them: almost always the only one that is asked.
    any: Option<Regex>,
    clear: Option<Regex>,
    #[cfg(test)]
    is_whole: bool,
}

impl Patterns {
    /// How clearly the text holds one of them.
    pub(super) fn trace(&self, text: &[u8]) -> Trace {
        let holds = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(text));
        if !holds(&self.any) {
            Trace::None
        } else if holds(&self.clear) {
            Trace::Clear
        } else {
            Trace::Faint
        }
    }

    fn compile(clear: &[&str], faint: &[&str]) -> Self {
        Self {
            any: regex(&[clear, faint].concat()),
            clear: regex(clear),
            #[cfg(test)]
            is_whole: clear.iter().chain(faint).all(|pattern| regex(&[pattern]).is_some()),
        }
    }

    /// Whether all that was written has become an expression.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole && self.any.is_some() == self.clear.is_some()
    }
}

/// What an expression keeps of the states it has met, at most, for each worker that uses it.
const CACHE_BYTES: usize = 3 * 1024 * 1024;

/// None where there is nothing to look for; that each of ours is one is tested.
fn regex(patterns: &[&str]) -> Option<Regex> {
    if patterns.is_empty() {
        return None;
    }
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(true).dot_matches_new_line(true);
    let config = Regex::config().utf8_empty(false).hybrid_cache_capacity(CACHE_BYTES);
    Regex::builder().syntax(syntax).configure(config).build_many(patterns).ok()
}

/// The rules' patterns, by their number. Those of null bytes are none: a null byte is one.
static PATTERNS: LazyLock<[Patterns; Rule::ALL.len()]> = LazyLock::new(|| {
    Rule::ALL.map(|rule| match rule {
        Rule::Traversal => Patterns::compile(TRAVERSAL, TRAVERSAL_FAINT),
        Rule::SqlInjection => Patterns::compile(SQL, SQL_FAINT),
        Rule::CrossSiteScripting => Patterns::compile(SCRIPT, SCRIPT_FAINT),
        Rule::CommandInjection => Patterns::compile(COMMAND, COMMAND_FAINT),
        Rule::TemplateInjection => Patterns::compile(TEMPLATE, TEMPLATE_FAINT),
        Rule::HeaderInjection => Patterns::compile(HEADER, HEADER_FAINT),
        Rule::NullByte => Patterns::compile(&[r"\x00"], &[]),
        // By its words alone: see `agents`.
        Rule::ScannerAgent => Patterns::compile(&[], &[]),
        Rule::ProtocolWrapper => Patterns::compile(WRAPPER, WRAPPER_FAINT),
    })
});

/// Of a text as it came: dots and slashes that nobody encodes who means well.
static ENCODED: LazyLock<Patterns> = LazyLock::new(|| Patterns::compile(ENCODED_DOTS, &[]));

/// Compiles what is compiled on first use, so that no request waits for it.
pub(super) fn make_ready() {
    LazyLock::force(&PATTERNS);
    LazyLock::force(&ENCODED);
}

pub(super) fn of(rule: Rule) -> Option<&'static Patterns> {
    PATTERNS.get(rule as usize)
}

pub(super) fn encoded_dots() -> &'static Patterns {
    &ENCODED
}

const TRAVERSAL: &[&str] = &[
    r"(?:\.\.[/\\]){2}",
    // Read as `../` by some: what they take away stands between the dots and the slash.
    r"\.\.(?:\.+|;[^/]*)[/\\]+\.\.",
    r"\.\.;[^/\\]*[/\\]",
    r"\.\.\.\.[/\\]{2}",
    r"\.\.[/\\](?:[^/\\\s]+[/\\]){0,4}(?:etc|proc|windows|winnt|boot\.ini|web-inf|meta-inf|\.ssh|\.git|\.env|\.aws|\.htpasswd|\.htaccess|web\.config|wp-config|config\.(?:php|ya?ml|json|inc|py)|passwd|shadow|id_rsa)(?:[/\\.\x00]|$)",
    r"(?:^|=)(?:file:)?/+etc/(?:passwd|shadow|group|hosts|hostname|issue|crontab|fstab|sudoers|ssh/\w+)\b[^\s]*$",
    r"(?:^|=)/+proc/(?:self|\d+|version|net|cpuinfo)(?:/|$)",
    r"(?:^|=)(?:[a-z]:)?[/\\]+(?:windows|winnt)[/\\]+(?:win\.ini|system\.ini|system32)",
    r"(?:^|=)[a-z]:[/\\]+boot\.ini",
    r"(?:^|=)/+(?:root|home/\w+)/\.(?:ssh|bash_history|aws|env)\b",
    // Too long UTF-8 of dot, slash and backslash.
    r"(?:\.\.|\xc0\xae\xc0?\xae?)(?:\xc0\xaf|\xc1\x9c|\xc1\x1c|\xc0\x2f|\xe0\x80\xaf)",
    r"\xc0\xae(?:\xc0\xae|\.)[/\\]",
];

const TRAVERSAL_FAINT: &[&str] = &[r"(?:^|[/\\=])\.\.[/\\]", r"[/\\]\.\.$"];

const ENCODED_DOTS: &[&str] = &[
    r"(?:\.|%(?:25){0,3}2e|%u002e|%(?:25)?c0%(?:25)?ae){1}(?:%(?:25){0,3}2e|%u002e|%(?:25)?c0%(?:25)?ae)(?:[/\\]|%(?:25){0,3}(?:2f|5c)|%u2215|%u2216|%u002f|%u005c|%(?:25)?c0%(?:25)?af|$)",
    r"(?:%(?:25){0,3}2e|%u002e)\.(?:[/\\]|%(?:25){0,3}(?:2f|5c))",
    r"\.\.(?:%(?:25){1,3}(?:2f|5c)|%u2215|%u2216|%u002f|%u005c|%(?:25)?c0%(?:25)?af|%(?:25)?c1%(?:25)?9c|%(?:25)?e0%(?:25)?80%(?:25)?af)",
];

const SQL: &[&str] = &[
    // UNION SELECT behind a value that was closed or a number, or with what only SQL has behind it.
    r#"(?:(?:^|[/=])\s*-?\d+(?:\.\d*)?|['"`)\\])[\s;)]*\bunion\b[\s(]+(?:(?:all|distinct)\b[\s(]*)?select\b"#,
    r#"\bunion\b[\s(]+(?:(?:all|distinct)\b[\s(]*)?select\b[\s(]*(?:null\b|-?\d|['"`@*(]|\w+\s*[,(]|\w+\s+from\s+\w+\s*(?:$|--|#|;|where\b|limit\b))"#,
    r#"(?:0x[0-9a-f]+|null|\d)\s*\bunion\s*(?:all\s*)?select\s*[\d@('"n]"#,
    // Always true, or never: between literals alone.
    r#"['"`][\s)]*(?:\b(?:or|and|xor|having|not)\b|\|\||&&)[\s(!~+-]*(?:not[\s(]+)?(?:-?\d+|['"`][\w\s.%-]*['"`]|true|false|null)[\s)]*(?:=|<|>|!=|\blike\b|\bis\b|\bin\b|\bbetween\b|\br?like\b|\bregexp\b|\bsounds\b|\bdiv\b)[\s(]*(?:not\s+)?(?:['"`]|-?\d|true|null|false)"#,
    r#"['"`][\s)]*(?:\b(?:or|and|xor)\b|\|\||&&)[\s(!~+-]*(?:true|false|null|-?\d+|['"`][\w\s]*['"`])[\s)]*(?:--|\#|/\*|;)"#,
    r#"['"`][\s)]*(?:\bor\b|\|\|)\s*['"`]\s*['"`]?\s*(?:$|=|--|\#)"#,
    r#"['"]\s*(?:=|\blike\b|\|\|)\s*['"]{1,2}\s*(?:$|--|\#|or\b|and\b|limit\b)"#,
    r#"(?:^|[/=])\s*['"]?-?\w*['"]?[\s)]+(?:or|and|xor|\|\||&&)[\s(!]*(?:not[\s(]+)?['"]?-?\d+['"]?[\s)]*(?:=|<|>|!=|\blike\b)[\s(]*['"]?-?\d+"#,
    r#"(?:^|[/=])\s*-?\d+['"]?[\s)]*(?:\|\||&&)[\s(]*['"]?-?\d+['"]?\s*="#,
    r#"(?:^|[/=])\s*['"]?-?\d+['"]?[\s)]+(?:or|and)\s+(?:true|false|not\s+false|exists\s*\(|\(?\s*select\b|\w+\s+is\s+(?:not\s+)?null|\w+\s+like\s+['"])"#,
    r#"['"][\s)]*\b(?:or|and|having)\b[\s(]+\w+\s*(?:\bis\s+(?:not\s+)?null|\blike\s+['"]%|\bin\s*\(\s*select)"#,
    // Closed, and the rest cut off.
    r#"^[^'"]*['"][\s);]*(?:--[\s+-]*|\#\s*|/\*.*)$"#,
    r#"['"\d)][\s;]*--\s*[-+\s]?$"#,
    r"(?:^|[/=])-?\d+[\s);]*(?:--\s*[-+]?\s*$|/\*)",
    // Another statement.
    r"[;)']\s*(?:drop|truncate|alter|create)\s+(?:table|database|schema|user|view|index|login|procedure|function)\b",
    r"[;)']\s*(?:insert\s+into\s+\w+|delete\s+from\s+\w+|update\s+[\w.]+\s+set\s+\w+\s*=|select\s+(?:\*|[\w.]+(?:\s*,\s*[\w.]+)*|\w+\s*\([^)]*\))\s+from\s+\w|select\s+\w+\s*\(|merge\s+into|grant\s+\w+\s+(?:on|to)|declare\s+@|shutdown\b|copy\s+\w+\s+(?:from|to)\b|exec(?:ute)?[\s(]+(?:xp_|sp_|master|immediate|['(@]))",
    r"\bexec(?:ute)?\s+(?:master\s*\.|xp_|sp_\w+)",
    r"\b(?:xp_cmdshell|xp_dirtree|xp_regread|sp_oacreate|sp_makewebtask|sp_executesql)\b\s*(?:['(@;]|n'|\w+\s*['=])",
    // Time, files, errors.
    r#"(?:\b(?:and|or|xor|select|if|when|then|else|having)\b|['"),;|&*/+-])[\s('"!]*(?:sleep|benchmark|pg_sleep)\s*\(\s*['"(]?\d"#,
    r"(?:^|[/=])\s*(?:pg_sleep|benchmark)\s*\(\s*\d",
    r"\bpg_sleep\s*\(",
    r"\bwaitfor\s+(?:delay|time)\s*\(?['\x22(]",
    r"\bbenchmark\s*\(\s*\d{4,}\s*,",
    r"\b(?:extractvalue|updatexml)\s*\([^)]*,\s*(?:concat|0x|make_set|elt)",
    r"\bload_file\s*\(\s*(?:['\x22]|0x|char|concat)",
    r"\binto\s+(?:out|dump)file\s*['\x22(]",
    r"\b(?:dbms_pipe|dbms_lock|dbms_ldap|utl_http|utl_inaddr|ctxsys|sys\.dbms_\w+)\s*\.\s*\w+\s*\(?",
    r"\bprocedure\s+analyse\s*\(",
    r"\brandomblob\s*\(\s*\d{5,}",
    r"\bfrom\s+(?:information_schema\s*\.|sysobjects\b|syscolumns\b|sys\.\w+|mysql\.\w+|pg_catalog\b|pg_shadow\b|pg_user\b|sqlite_master\b|all_tables\b|user_tables\b|master\.\.|dual\b|v\$version)",
    r"(?:\bselect\b|['\x22(,=]|\bunion\b)[\s(]*@@(?:version|hostname|datadir|basedir|global|servername)\b",
    r"\b(?:ascii|ord|hex|length|bin|lower|upper|unhex|substr|substring|substring_index|mid|left|right|cast|convert|concat|count|char_length)\s*\(\s*\(*\s*(?:select\b|substr(?:ing)?\s*\(|mid\s*\(|user\s*\(|database\s*\(|version\s*\(|current_user\b|@@)",
    r"\b(?:and|or|where|having)[\s(]+(?:not\s+)?(?:exists\s*\(\s*select\b|(?:ascii|ord|substr|substring|mid|length)\s*\()",
    r"(?:[=,+*/|'\x22(<>-]|\b(?:and|or|in|any|all|select|if)\b)\s*\(\s*select\s+(?:[\w.*@'\x22(]|[^)]+\bfrom\b)",
    r"^\s*\(\s*select\s*(?:\*|\(|\d|[\w.]+\s*(?:\(|,|from\b))",
    r"\bif\s*\(\s*.+,\s*(?:sleep|benchmark|\(\s*select|1\s*/\s*0|0\s*,)",
    r"(?:['\x22)]|\b(?:and|or|select)\b)[\s(]*case\s+when\b.+\bthen\b",
    r"(?:(?:^|[/=])\s*-?\d+|['\x22`)])[\s)]*\b(?:order|group)\s+by\s+(?:\d+|null|\(?\s*(?:select|case)\b)",
    r"['\x22)]\s*\b(?:limit|offset)\s+\d+\s*,?\s*\d*\s*(?:--|\#|into\b|union\b)",
    r"\bhaving\s+(\d+)\s*=\s*\d+",
    r"\bchar\s*\(\s*\d+\s*(?:,\s*\d+\s*){2,}\)",
    r"\bch(?:a)?r\s*\(\s*\d+\s*\)\s*(?:\|\||\+)\s*ch(?:a)?r\s*\(",
    r"['\x22]\s*(?:\|\||\+)\s*(?:\(\s*select\b|(?:user|version|database|current_user|utl_\w+|extractvalue|char|chr)\s*[(.])",
    r"['\x22]\s*\|\|\s*['\x22][^|]*(?:'\s*=|--)",
    r"['\x22][\s)]*\brlike\b[\s(]",
    r"['\x22]\s*(?:and|or)\s+(?:extractvalue|updatexml|exp|polygon|multipoint|geometrycollection|json_keys|gtid_subset)\s*\(",
    // With one quote alone: of two the second ends a text.
    r"'\s*;\s*(?:--|\#|/\*)",
    r"^[^'\x22]*'\s*;\s*$",
    // Operators of document stores, where only a bypass has them.
    r#"\$where\b['"]?\s*[\]:]"#,
    r#""\$(?:ne|gt|gte|regex)"\s*:\s*(?:""|"\.\*")"#,
    r#"^\s*\{\s*"\$(?:ne|gt|gte|regex)"\s*:\s*(?:null|-?1\b|0\b)"#,
    r#""(?:pass(?:word|wd|code)?|pwd|secret|token|api_?key)"\s*:\s*\{\s*"\$(?:ne|gt|gte|nin|regex|exists)""#,
];

const SQL_FAINT: &[&str] = &[
    r"\bselect\s+(?:distinct\s+)?(?:\*|[\w.]+(?:\s*,\s*[\w.]+)+|\w+\s*\([^)]*\))\s+from\s+\w",
    r"\b(?:insert\s+into|delete\s+from|drop\s+table|truncate\s+table)\s+\w",
    r"\b(?:or|and)[\s(]+['\x22]?\d+['\x22]?\s*=\s*['\x22]?\d+",
    r"\bunion\s+(?:all\s+)?select\b",
    r"'\s*;\s*$",
    // A filter, as much as a bypass.
    r#""\$(?:ne|gt|gte|regex)"\s*:\s*(?:null|-?1\b|0\b)"#,
];

const SCRIPT: &[&str] = &[
    r"<\s*/?\s*script\b",
    r"<[a-z!/?][^<>]*[\s/\x22'`\x00\x0b\x0c]on[a-z]{3,}\s*=",
    r"<[a-z!/][^<>]*(?:=|[\s\x22'(])\s*(?:j\s*a\s*v\s*a|v\s*b|live)\s*s\s*c\s*r\s*i\s*p\s*t\s*(?::|&colon;|&\#0*58|&\#x0*3a)",
    r"<\s*(?:iframe|embed|object|frame|applet|base)\b[^<>]*\b(?:src|data|href|code|srcdoc)\s*=",
    r"<[a-z][^<>]*\bsrcdoc\s*=",
    r"<\s*meta\b[^<>]*http-equiv",
    r"<\s*style\b[^<>]*>.*(?:@import|expression\s*\(|javascript\s*:)",
    r"<\s*(?:svg|math)\b[^>]*>\s*<\s*(?:script|animate|set|a|use|foreignobject|maction)\b",
    r"<\s*link\b[^<>]*rel\s*=[^<>]*import",
    r"<!\[cdata\[.*<",
    r"<\s*xss\b",
    r"<\?xml-stylesheet",
    // The end of an attribute, and one that runs.
    r"[\x22'`][^<>]*[\s/\x22'`]on(?:error|load|click|dblclick|mouse\w{2,5}|key\w{2,5}|focus\w{0,3}|blur|change|submit|toggle|animation\w{3,9}|transition\w{3,9}|pointer\w{2,6}|touch\w{3,6}|drag\w{0,5}|drop|wheel|scroll\w{0,3}|begin|start|finish|resize|hashchange|pageshow|popstate|message|beforeinput|input|invalid|select|auxclick|contextmenu|copy|cut|paste|canplay\w{0,7}|play\w{0,3})\s*=\s*[^=\s]",
    r"\x22[\s/]*(?:autofocus|style\s*=|formaction\s*=|srcdoc\s*=|tabindex\s*=)[^<>]*(?:on\w{3,}\s*=|javascript\s*:|expression\s*\()",
    // Schemes that run.
    r"(?:=\s*|[\x22'(]\s*)(?:j[\s]*a[\s]*v[\s]*a|v[\s]*b)[\s]*s[\s]*c[\s]*r[\s]*i[\s]*p[\s]*t[\s]*(?::|&colon;|&\#0*58|&\#x0*3a)\s*[\w(/'\x22\\%+\[]",
    r"^[\s\x00-\x20]*j[\r\n\t\x00]*a[\r\n\t\x00]*v[\r\n\t\x00]*a[\r\n\t\x00]*s[\r\n\t\x00]*c[\r\n\t\x00]*r[\r\n\t\x00]*i[\r\n\t\x00]*p[\r\n\t\x00]*t[\r\n\t\x00]*(?::|&colon;)[^\s]*[(`=\[]",
    r"^\s*vbscript\s*:\s*\w+",
    r"(?:^|[=\x22'(])\s*data\s*:\s*(?:text/html|image/svg\+xml|application/xhtml\+xml)[^,]*,\s*(?:<|%3c|phn2|phnj|pgh0|pht|[a-z0-9+/]{20})",
    // The end of a string, and code.
    r"[\x22'`][\s)}\]]*[;,+*/|&^%-]+[\s(]*(?:alert|confirm|prompt|eval|fetch|print|import|top\[|window\[|self\[)\s*[(`\[\x22']",
    r"</\s*(?:textarea|title|style|noscript|template|xmp|iframe|option|select)\s*>\s*<\s*[a-z!]",
    r"\b(?:alert|prompt|confirm|eval|fetch|write|src|href|location|open|atob)\s*[=(][^<>]*document\s*\.\s*(?:cookie|domain|location)",
    r"\beval\s*\(\s*(?:atob|unescape|string\s*\.\s*fromcharcode|location|name\b|window|decodeuri)",
    r"\bstring\s*\.\s*fromcharcode\s*\(\s*\d+\s*,",
    r"\bwindow\s*\[\s*['\x22`](?:al|ev|loc|doc|fe)",
    r"\bset(?:timeout|interval)\s*\(\s*['\x22`](?:alert|eval|document)",
    r"\bstyle\s*=\s*['\x22]?[^<>]*(?:expression\s*\(|javascript\s*:|behavior\s*:\s*url|-moz-binding)",
    r"\\(?:u00|x|u\{)3c\}?\s*/?(?:script|img|svg|iframe)",
    r"\xef\xbc\x9c\s*/?(?:script|img|svg|iframe)",
    r"&lt;script[^&]*&gt;.*&lt;/script",
    r"\+adw-\s*/?script",
];

const SCRIPT_FAINT: &[&str] = &[
    r"<\s*(?:iframe|embed|object|applet|svg|math|frameset|isindex|marquee|bgsound)\b",
    r"\b(?:alert|prompt|confirm)\s*[(`]\s*(?:\d+|document|window|['\x22]?xss)",
    r"\bdocument\s*\.\s*(?:cookie|domain)\b",
    r"\bj\s*a\s*v\s*a\s*script\s*:\s*\w+\s*\(",
];

const COMMAND: &[&str] = &[
    // A command of which the name alone gives it away.
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:whoami|ifconfig|ipconfig|systeminfo|printenv|netstat|tasklist|uname)\b(?:\s+[/-]\w{1,12})*\s*(?:$|[;|&\n`)\x00#'\x22>])",
    // One with what it is to work on.
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:cat|tac|nl|od|xxd|base64)\s+(?:-\w+\s+)*(?:/[\w.?*\[$]|~(?:/|\w+/|\s*$)|\$[a-z_{(@*]|<\s*[/~.$a-z(]|\\|\.\.?/|\S*(?:passwd|shadow|etc/|\.php|\.env))",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:ls|dir)\s+(?:-\w|[/~]|\.\.?(?:$|[/;\s])|c:)",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?ping\s+(?:-[a-z]\s*\d+\s+|[/-]n\s*\d+\s+)?(?:\d{1,3}\.\d|-[a-z]\b|localhost|[\w-]+\.[a-z]{2})",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:curl|wget|fetch|lynx|tftp|ftp|certutil|bitsadmin)(?:\.exe)?\s+(?:-\S+\s+)*(?:https?:|ftp:|//|[\w-]+\.[\w.-]+|\d{1,3}\.|['\x22$-])",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:nc|ncat|netcat|telnet|socat)\s+(?:-\w+\s+)*[\w.-]+[\s:]+\d",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?nc\s+-\w*e",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:ba|da|z|k|c|tc)?sh\s+(?:-[a-z]|<|/tmp|\S+\.sh\b)",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:python[23]?|perl|ruby|php|node|lua)\s+-[a-z]",
    r"(?:[;|&\n]|\$\()\s*(?:rm\s+-[rf]|chmod\s+(?:[+u]|0?[0-7]{3})|chown\s+\w+|kill(?:all)?\s+-|nohup\s+\S|crontab\s+-|useradd\s|adduser\s|mkfifo\s|touch\s+[/\w.]+|net\s+user\b|reg\s+(?:add|query)|type\s+(?:c:|%|\S+\.ini)|timeout\s+/t\s*\d+|nslookup\s+\S*\.\w|dig\s+\S*\.\w|echo\s+(?:-[ne]+\s|[$\x22'`]|[^\s;|&]+\s*[;|&`)>#'\x22])|set\s+/a\b|expr\s+\d+|id\s+-\w|ps\s+-\w*e)",
    r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:more|less|head|tail|strings|grep|find|cp|mv|ln|stat|file|dd|tar|zip)\s+(?:-\w+\s+\S{0,4}\s*)*(?:/\w|/\s+-\w|\.\.?/|\S*(?:passwd|shadow|etc/|\.php|\.env))",
    // A lone `&` with a blank behind it is prose.
    r"(?:[;|\n]\s*|&&\s*|\$\(\s*|&)sleep\s+\d+\s*(?:$|[;|&`)#'\x22])",
    // Names that lists hold too: behind an address, or closed like a command.
    r"(?:(?:^|=|@)\d{1,3}(?:\.\d{1,3}){3}|localhost|['\x22])\s*(?:;|\|\|?|&&?|\n|`)\s*(?:id|ls|pwd|env|dir|ps|w|who|set|hostname|date|ver)\s*(?:$|[;|&\n`#'\x22])",
    r"^\s*(?:;|\|\||&&)\s*(?:id|ls|pwd|env|ps)\s*(?:;|\||&&|\#)",
    r"(?:;|\|\||&&)\s*(?:id|ls|pwd|env|ps)\s*(?:(?:;|\|)\s*(?:$|\#)|&&|\#)",
    r"\$\(\s*(?:/(?:usr/)?s?bin/)?(?:id|ls|pwd|env|ps|who|hostname|date|cat|curl|wget|sleep|nslookup|ping|echo|printf|bash|sh|expr|dig)\b",
    r"^[^\s`]*`\s*(?:/(?:usr/)?s?bin/)?(?:id|ls|pwd|env|ps|hostname|date|cat|curl|wget|sleep|nslookup|dig|ping|echo|printf|bash|sh|uname|whoami|ifconfig|rm|nc|touch|chmod|python[23]?|perl)\b[^`]*`[^\s]*$",
    r"\$\{?ifs\b",
    r"(?:[;|&]|\$\()\s*(?:/(?:usr/)?s?bin/)?\w{0,6}(?:''|\x22\x22|\\)\w+(?:''|\x22\x22|\\|\w){0,12}[\s<]+[/\\~]",
    r"(?:[;|&]|\$\()\s*(?:\w'\w'\w|'\w'\w|\w\x22\w\x22\w)\w{0,6}\s",
    r"(?:[;|&]|\$\()\s*/\S{0,8}\?\S{0,8}/\S{0,12}\s+/",
    // With something that is an argument, and no other name.
    r"\{(?:cat|ls|echo),(?:[^}]*,)?['\x22]?(?:[-/.~$\\]|https?:)[^}]*\}",
    r"\{(?:curl|wget|nc|bash),[^}]*[-./:$\\][^}]*\}",
    // Pipes into a shell, shells with a command, sockets of bash.
    r"\b(?:curl|wget|echo|base64|printf)\b[^|]+\|\s*(?:sudo\s+)?(?:/(?:usr/)?s?bin/)?(?:ba|da|z|k)?sh\b",
    r"\b(?:curl|wget|echo|base64|printf)\b[^|]+\|\s*(?:sudo\s+)?(?:python[23]?|perl|ruby|php|base64\s+-d)\b",
    r"/bin/(?:ba|da|z|k|c)?sh\s+-[ci]\b",
    r"\bbash\s+-i\s*>&",
    r"/dev/(?:tcp|udp)/[\w.]+/\d",
    r"\bcmd(?:\.exe)?\s*[\s^\x22]*/[ckr]\b",
    r"\bpowershell(?:\.exe)?\s+(?:-\w+\s+\w*\s*)*-(?:e|en|enc|encodedcommand|c|command|nop|noprofile|w|ep|exec\w*)\b",
    r"\b(?:iex|invoke-expression)\s*\(?\s*(?:\(|new-object|iwr|invoke-webrequest)",
    r"^\s*\(\s*\)\s*\{",
    r"\(\)\s*\{\s*(?::|_|x|foo)?\s*;?\s*\}\s*;",
    r"<!--\s*\#\s*(?:exec|include|echo|printenv|config)\b",
    // Code of languages that runs commands.
    r"<\?(?:php\b|=)",
    r"\b(?:system|passthru|shell_exec|popen|proc_open|pcntl_exec|assert)\s*\(\s*(?:['\x22$]|base64_decode|chr\s*\()",
    r"(?:^|[;(@'\x22=.{])\s*(?:system|exec)\s*\(\s*['\x22$]",
    r"\bphpinfo\s*\(\s*\)",
    r"\beval\s*\(\s*(?:base64_decode|gzinflate|str_rot13|\$_(?:get|post|request|cookie))",
    r"\$_(?:get|post|request|cookie|server)\s*\[",
    r"\b__import__\s*\(\s*['\x22](?:os|subprocess|sys|pty)",
    r"\b(?:os|subprocess|commands)\s*\.\s*(?:system|popen|call|check_output|run|getoutput)\s*\(\s*['\x22\[]",
    r"\bgetruntime\s*\(\s*\)\s*\.\s*exec|\bjava\.lang\.(?:runtime|processbuilder)\b",
    r"\brequire\s*\(\s*['\x22]child_process",
    r"\bprocess\s*\.\s*mainmodule\b",
    r"\b(?:allow_url_include|auto_prepend_file|disable_functions)\s*=",
    r"\binvokefunction\b",
];

const COMMAND_FAINT: &[&str] = &[
    r"(?:;|\|\||&&)\s*(?:id|ls|pwd|env|ps)\s*(?:;|\|)",
    r"\{(?:cat|ls|curl|wget|echo|nc|bash),[^}]+\}",
    r"(?:;|\|\||&&)\s*(?:id|ls|pwd|env|dir|ps|who|hostname)\s*$",
    r"(?:^|[\s=/])/bin/(?:ba|da|z|k)?sh\b",
    r"(?:[;|&]|\$\()\s*(?:sudo|cat|curl|wget|bash)\s",
    r"`\s*(?:id|whoami|uname|cat|curl|wget|sleep|ping)\b[^`]*`",
];

const TEMPLATE: &[&str] = &[
    r"\$\{\s*jndi\s*:",
    r"\$\{[^}]*\$\{",
    r"\$\{\s*(?:::-|lower:|upper:|script:|dns:|url:|sys:|ctx:|main:|base64decoder:|urldecoder:|const:java)",
    r"(?:jndi|\$\{j)\s*[:}][^\s]*(?:ldaps?|rmi|dns|iiop|corba|nis|nds)\s*:/",
    r"\$\{\w*:[^}]*:-[^}]{0,4}\}",
    r"\{\{[-%\s]*['\x22]?\d+['\x22]?\s*[*+/-]\s*['\x22]?\d+",
    r"\{\{\s*(?:config|self|request|settings|app|_self|url_for|get_flashed_messages|lipsum|cycler|joiner|namespace|range)\s*(?:\}\}|\.(?:items|__|application|environ|_|request|env|get)|\[|\()",
    r"\{\{[^}]*(?:__\w+__|\.constructor|\bconstructor\b|\battr\s*\(|\|\s*attr|popen|getruntime|\.mro\b|registerundefinedfiltercallback|getfilter|execute\s*\()",
    r"\{\{[^}]*(?:filter|map|reduce|sort)\s*\(\s*['\x22](?:system|exec|passthru|shell_exec|phpinfo)",
    r"\{\{\s*(?:\[\]|\(\)|''|\x22\x22)\s*[.\[(|]",
    r"\{%[^%]+(?:__\w+__|popen|\bos\.|import\s+os|_self\.env)",
    r"__(?:globals|subclasses|builtins|mro)__\s*[.\[(]",
    r"__class__\s*\.\s*__(?:mro|base|bases|subclasses|init)",
    r"[$\#@*%~]\{\s*['\x22]?\d+['\x22]?\s*[*+]\s*['\x22]?\d+['\x22]?\s*\}",
    r"(?:^|[\s=\x22'>])@\(\s*\d+\s*[*+]\s*\d+\s*\)",
    r"<%[=-]?\s*(?:\d+\s*[*+]\s*\d+|system\b|exec\b|`|eval\b|file\.|dir\.|io\.|runtime|@?\s*page\s+import|import\b|global\.|require\s*\(|out\.print)",
    r"<%@\s*(?:page|import|include)\b",
    r"[$\#@*%~]\{\s*(?:t\s*\(\s*java|new\s+java|@java|@\w+\.|\#_memberaccess|\(\#|\#\w+\s*=|\#(?:request|response|session|application|context|attr)\b|\(?\s*(?:''|\x22\x22)\s*\.|self\.module|global\.process|runtime\b|class\.|[^}]*(?:getclass\s*\(|\.forname\s*\(|\.exec\s*\(|getruntime|processbuilder|scriptengine|ognl))",
    r"\bt\s*\(\s*java\.lang\.",
    r"freemarker\.template\.utility",
    r"<\#\s*assign\b",
    r"\#set\s*\(\s*\$\w+\s*=",
    r"\$class\.(?:inspect|type|forname)",
    r"\{\s*php\s*\}|\{\s*(?:system|exec|passthru)\s*\(|\{\s*\$smarty\.",
    r"\{\{\s*=\s*(?:global|process|require)\b",
    r"\#\{\s*(?:system|exec|`|file\.|io\.|%x|global\.|root\.process|require)",
    r"\bclass\.module\.classloader\b",
];

const TEMPLATE_FAINT: &[&str] = &[
    r"\$\{\s*env\s*:",
    r"\{\{\s*\d+\s*\}\}",
    r"__(?:class|globals|builtins|subclasses)__",
    r"\{\{[^}]*\|\s*(?:safe|e|escape)\b",
];

const HEADER: &[&str] = &[
    r"[\r\n]+\s*(?:set-cookie|content-(?:type|length|disposition|encoding|security-policy)|transfer-encoding|access-control-[a-z-]{2,}|clear-site-data|x-(?:forwarded|frame|xss|content|powered|injected|inject|injection|custom|test|header|cache|host|original|http|real)[a-z-]*|proxy-\w+|cookie|authorization)\s*:",
    r"[\r\n]+\s*location\s*:\s*(?:https?:|/)",
    r"[\r\n]+\s*refresh\s*:\s*\d+\s*(?:[;,]|$)",
    r"[\r\n]+\s*(?:bcc|cc|reply-to)\s*:[^\r\n]*@",
    r"[\r\n]+\s*mime-version\s*:\s*\d",
    r"[\r\n]+\s*host\s*:\s*\S+\s*$",
    r"[\r\n]+\s*http/\d",
    r"[\r\n]+\s*(?:get|post|put|delete|head|options|patch)\s+\S+\s+http/",
    // Characters whose low octets are CR and LF.
    r"\xe5\x98\x8a\s*\xe5\x98\x8d|\xe5\x98\x8d\s*\xe5\x98\x8a",
];

/// Lines of letters that people write, too.
const HEADER_FAINT: &[&str] = &[r"[\r\n]+\s*(?:refresh|bcc|cc|reply-to|mime-version)\s*:\s*\S"];

const WRAPPER: &[&str] = &[
    r"^\s*(?:url\s*[:=]\s*)?(?:file:/{1,3}[^\s/]|file:////|netdoc:/|jar:(?:https?|file):|view-source:|local_file:|ssh2(?:\.\w+)?://|ogg://|rar://|glob://|compress\.\w+://|data://)",
    r"(?:^|[=,\s\x22'(;])(?:php://(?:filter|input|stdin|fd|memory|temp|output)|phar://\S|expect://\S|zip://\S+(?:\#|%23)|zlib:|gopher://\S|dict://\S+:\d|tftp://\S|ldaps?://\S+/|rmi://\S+:\d|sftp://\S+:\d+/\S*;)",
    r"^\s*(?:[\w.+-]+:)?/{0,2}(?:[^/@\s]*@)?(?:169\.254\.169\.254|169\.254\.170\.2|\[?fd00:ec2::254\]?|metadata\.google\.internal|metadata\.azure\.com|100\.100\.100\.200|192\.0\.0\.192|2852039166|0xa9fea9fe|0xa9\.0xfe\.0xa9\.0xfe|0?251\.0?376\.0?251\.0?376|\[::ffff:169\.254\.169\.254\]|\[::ffff:a9fe:a9fe\]|169\.254\.169\.254\.\w+\.\w+|instance-data\.ec2\.internal)(?:[:/?\#.]|$)",
    // A word as well as a host: one behind a scheme, or before a path.
    r"^\s*(?:[\w.+-]+:)?//(?:[^/@\s]*@)?instance-data(?:[:/?\#.]|$)",
    r"^\s*(?:[^/@\s]*@)?instance-data(?::\d+)?/",
    r"[@=/]169\.254\.169\.254(?:[:/?\#]|$)",
    r"<!entity\s+%?\s*\w+\s+(?:system|public)\b",
    r"<!doctype\s+\w+\s+(?:system\s+['\x22](?:file|https?|ftp):|\[)",
    r"<[\w:]*include\s[^>]*href\s*=\s*['\x22]file:",
];

const WRAPPER_FAINT: &[&str] = &[r"^\s*instance-data\s*$"];
