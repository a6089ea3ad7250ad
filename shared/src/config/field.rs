//! How a section is declared: its keys with kind, default, meaning and example, once. The reader takes bounds and
//! defaults from here; unknown keys, the schema, the reference page and the effective tree come from here too.

/// A map with known keys.
#[derive(Debug)]
pub(super) struct Section {
    /// What it is called in the reference, such as `server.limits`.
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// Groups of keys, so that a route can take in the policies.
    pub(super) fields: &'static [&'static [Field]],
}

impl Section {
    pub(super) fn all(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().flat_map(|group| group.iter())
    }

    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.all().find(|field| field.key == key)
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) doc: &'static str,
    /// As it would be typed.
    pub(super) default: Option<&'static str>,
    pub(super) required: bool,
    /// An absent section is there all the same, with its defaults.
    pub(super) filled: bool,
}

impl Field {
    pub(super) const fn new(key: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { key, kind, doc, default: None, required: false, filled: false }
    }

    /// What stands where nobody writes the key.
    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub(super) const fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// What may stand under a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text of some form, such as an address; `sample` is a valid one.
    Text {
        what: &'static str,
        sample: &'static str,
    },
    /// Any single value, taken as the text that was typed.
    Word {
        what: &'static str,
        sample: &'static str,
    },
    /// Text that must not be shown.
    Secret {
        what: &'static str,
        sample: &'static str,
    },
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// Bounds as they would be typed.
    Duration {
        min: &'static str,
        max: &'static str,
    },
    Size {
        min: &'static str,
        max: &'static str,
    },
    /// Bounds as they would be typed.
    Percent {
        min: &'static str,
        max: &'static str,
    },
    Choice(&'static [&'static str]),
    /// Either this word, or the kind.
    Or(&'static str, &'static Kind),
    List(&'static Kind),
    /// One, or a list of them.
    OneOrMany(&'static Kind),
    /// Free names, each with a value of the kind.
    Map(&'static Kind),
    Section(&'static Section),
    /// The short form, or the long one.
    Short(&'static Kind, &'static Section),
}

/// The short form of a section with its defaults.
pub(super) const ON: Kind = Kind::Choice(&["on"]);

impl Kind {
    /// Some valid scalar of this kind, for values that cannot be known.
    pub(super) fn sample(&self) -> &'static str {
        match self {
            Self::Text { sample, .. } | Self::Word { sample, .. } | Self::Secret { sample, .. } => sample,
            Self::Boolean => "false",
            Self::Integer { min, .. } if *min == 1 => "1",
            Self::Integer { .. } => "8",
            Self::Duration { max, .. } | Self::Size { max, .. } | Self::Percent { max, .. } => max,
            Self::Choice(words) => words.first().copied().unwrap_or_default(),
            Self::Or(word, _) => word,
            Self::List(item) | Self::OneOrMany(item) | Self::Short(item, _) => item.sample(),
            Self::Map(_) | Self::Section(_) => "",
        }
    }

    /// What it is, in words: "a duration".
    pub(super) fn noun(&self) -> String {
        match self {
            Self::Text { what, .. } | Self::Word { what, .. } | Self::Secret { what, .. } => (*what).to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Duration { .. } => "a duration such as `10s`".to_owned(),
            Self::Size { .. } => "a size such as `64KiB`".to_owned(),
            Self::Percent { .. } => "a percentage such as `20%`".to_owned(),
            Self::Choice(words) => match words {
                [only] => format!("`{only}`"),
                [start @ .., last] => {
                    let start: Vec<String> = start.iter().map(|word| format!("`{word}`")).collect();
                    format!("{} or `{last}`", start.join(", "))
                }
                [] => String::new(),
            },
            Self::Or(word, kind) => format!("`{word}` or {}", kind.noun()),
            Self::List(item) => format!("a list ({} each)", item.noun()),
            Self::OneOrMany(item) => format!("{}, or a list of such", item.noun()),
            Self::Map(item) => format!("a map of names ({} each)", item.noun()),
            Self::Section(_) => "a map".to_owned(),
            Self::Short(kind, _) => format!("{}, or a map", kind.noun()),
        }
    }

    /// What to write where a single value stands that is none of it.
    pub(super) fn instead(&self, typed: &str) -> Option<String> {
        let word = match &*typed.to_ascii_lowercase() {
            "true" | "yes" | "y" | "on" => "on",
            "false" | "no" | "n" | "off" => "off",
            _ => "",
        };
        if self.takes(word) {
            return Some(format!("write `{word}`"));
        }
        let (Self::Section(section)
        | Self::Short(_, section)
        | Self::Or(_, Self::Section(section) | Self::Short(_, section))) = self
        else {
            return None;
        };
        let needed: Vec<String> =
            section.all().filter(|field| field.required).map(|field| format!("{}: …", field.key)).collect();
        if needed.is_empty() {
            let keys: Vec<&str> = section.all().map(|field| field.key).collect();
            return Some(format!("write a map; its keys are {}", keys.join(", ")));
        }
        Some(format!("write a map: `{{{}}}`", needed.join(", ")))
    }

    /// Whether this word stands for it.
    fn takes(&self, word: &str) -> bool {
        match self {
            Self::Or(other, kind) => *other == word || kind.takes(word),
            Self::Short(kind, _) => kind.takes(word),
            Self::Choice(words) => words.contains(&word),
            Self::Text { .. }
            | Self::Word { .. }
            | Self::Secret { .. }
            | Self::Boolean
            | Self::Integer { .. }
            | Self::Duration { .. }
            | Self::Size { .. }
            | Self::Percent { .. }
            | Self::List(_)
            | Self::OneOrMany(_)
            | Self::Map(_)
            | Self::Section(_) => false,
        }
    }

    /// The kind of the scalar within.
    pub(super) fn scalar(&self) -> &Self {
        if let Self::Or(_, kind) | Self::OneOrMany(kind) | Self::Short(kind, _) = self { kind.scalar() } else { self }
    }

    /// The kind of the items, where a list may stand.
    pub(super) fn item(&'static self) -> &'static Self {
        if let Self::Or(_, inner) = self {
            return inner.item();
        }
        if let Self::List(item) | Self::OneOrMany(item) = self { item } else { self }
    }

    /// The kind of the values, where a map with free names may stand.
    pub(super) fn map_item(&'static self) -> Option<&'static Self> {
        if let Self::Or(_, inner) | Self::OneOrMany(inner) = self {
            return inner.map_item();
        }
        if let Self::Map(item) = self { Some(item) } else { None }
    }

    /// The section within, where there is one.
    pub(super) fn section(&self) -> Option<&'static Section> {
        match self {
            Self::Section(section) | Self::Short(_, section) => Some(section),
            Self::Or(_, kind) | Self::List(kind) | Self::OneOrMany(kind) | Self::Map(kind) => kind.section(),
            Self::Text { .. }
            | Self::Word { .. }
            | Self::Secret { .. }
            | Self::Boolean
            | Self::Integer { .. }
            | Self::Duration { .. }
            | Self::Size { .. }
            | Self::Percent { .. }
            | Self::Choice(_) => None,
        }
    }
}
