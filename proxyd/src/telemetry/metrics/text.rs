//! The Prometheus text format 0.0.4: families, samples and the escaping of both. Knows no metric.

use std::fmt::{Display, Write as _};

use super::histogram::{BOUNDS_US, Durations};

/// A family's kind, as `# TYPE` names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Labels of one sample, in the order they are shown.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    /// Opens a family; the samples that follow are its own.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        self.name = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        self
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// A sample in seconds of a time in microseconds.
    pub(super) fn seconds(&mut self, labels: Labels<'_>, us: u64) -> &mut Self {
        self.sample(labels, Seconds(us))
    }

    /// `_bucket`, `_sum` and `_count`, in seconds.
    pub(super) fn durations(&mut self, labels: Labels<'_>, durations: &Durations) {
        for (bound, count) in BOUNDS_US.iter().zip(durations.cumulative()) {
            self.line("_bucket", labels, Some(&Seconds(*bound).to_string()), count);
        }
        let count = durations.count();
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, Seconds(durations.sum_us));
        self.line("_count", labels, None, count);
    }

    /// `_sum` in seconds and `_count`.
    pub(super) fn sum_and_count(&mut self, labels: Labels<'_>, sum_us: u64, count: u64) {
        self.line("_sum", labels, None, Seconds(sum_us));
        self.line("_count", labels, None, count);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (label, text) in labels.iter().copied().chain(bound) {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(text, &mut self.out);
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }
}

/// Label values escape backslash, quote and line feed; everything else stands for itself.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(letter),
        }
    }
}

/// Microseconds shown as seconds, without rounding.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{fraction:06}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_and_short() {
        fn check(us: u64, expected: &str) {
            assert_eq!(Seconds(us).to_string(), expected);
        }
        check(0, "0");
        check(1, "0.000001");
        check(500, "0.0005");
        check(2_500_000, "2.5");
        check(60_000_000, "60");
        check(u64::MAX, "18446744073709.551615");
    }

    #[test]
    fn samples_and_labels() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What\\ever\nit is.");
        text.sample(&[], 1).sample(&[("x", "1"), ("y", "a\"b\\c\nd é")], 2).seconds(&[], 1_500);
        let expected = "# HELP a_total What\\\\ever\\nit is.\n# TYPE a_total counter\na_total 1\n\
            a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd é\"} 2\na_total 0.0015\n";
        assert_eq!(text.finish(), expected);
    }
}
