//! The texts of a request that outlive its message, in one allocation: its head goes upstream and is gone, its row is
//! written when its body has ended.

/// Texts noted when the request is opened. The path comes after them, once it is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Id,
    Client,
    Method,
    Host,
    /// Masked.
    Query,
    UserAgent,
    /// The header and query values that some route's matcher reads, as JSON.
    Matched,
}

const PARTS: usize = 7;

/// See the module.
#[derive(Debug, Default)]
pub struct Trail {
    text: String,
    ends: [u32; PARTS],
}

impl Trail {
    /// Notes the parts, in the order of [`Part`].
    pub fn open(parts: [&str; PARTS], path: &str) -> Self {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>() + path.len();
        let mut text = String::with_capacity(bytes);
        let mut ends = [0; PARTS];
        for (end, part) in ends.iter_mut().zip(parts) {
            text.push_str(part);
            *end = text.len() as u32;
        }
        text.push_str(path);
        Self { text, ends }
    }

    /// A part.
    pub fn part(&self, part: Part) -> &str {
        let index = part as usize;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The path.
    pub fn path(&self) -> &str {
        let start = self.ends.last().copied().unwrap_or(0);
        self.text.get(start as usize..).unwrap_or_default()
    }

    /// Puts the normalised path in the place of the one that came.
    pub fn set_path(&mut self, path: &str) {
        let start = self.ends.last().copied().unwrap_or(0);
        self.text.truncate(start as usize);
        self.text.push_str(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_noted() {
        let mut trail = Trail::open(["id", "", "GET", "h.example", "a=1", "curl", ""], "/%7Ex");
        trail.set_path("/~x");
        assert_eq!(trail.part(Part::Id), "id");
        assert_eq!(trail.part(Part::Client), "");
        assert_eq!(trail.part(Part::Method), "GET");
        assert_eq!(trail.part(Part::Host), "h.example");
        assert_eq!(trail.part(Part::Query), "a=1");
        assert_eq!(trail.part(Part::UserAgent), "curl");
        assert_eq!(trail.part(Part::Matched), "");
        assert_eq!(trail.path(), "/~x");
    }
}
