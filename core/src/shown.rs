use std::fmt;

/// A key or name, as a message or a log shows it: on one line, and no longer than a reader can take in.
///
/// Keys come from the database and from whoever asks for a flag, so one may hold line breaks or a terminal's control
/// sequences, which are escaped, or be of any length: what is behind the first 80 characters is cut off, and three dots
/// say so. It is for people to read, and no way to get the key back.
///
/// ```
/// use flagstore_core::Shown;
///
/// assert_eq!(Shown::new("dark-mode").to_string(), "dark-mode");
/// assert_eq!(Shown::new("dark\nmode").to_string(), r"dark\nmode");
/// assert!(Shown::new(&"x".repeat(10_000)).to_string().ends_with("xxx..."));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(&'a str);

impl<'a> Shown<'a> {
    /// Shows this key or name.
    #[must_use]
    pub const fn new(key: &'a str) -> Self {
        Self(key)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        let cut = self.0.char_indices().nth(LONGEST).map(|(at, _)| at);
        write!(f, "{}", self.0[..cut.unwrap_or(self.0.len())].escape_debug())?;
        if cut.is_some() { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(Shown::new("a\n\u{1b}[31m").to_string(), "a\\n\\u{1b}[31m");
    }

    /// Between characters, not between bytes.
    #[test]
    fn only_what_is_too_long_is_cut() {
        let longest = "\u{e9}".repeat(80);
        assert_eq!(Shown::new(&longest).to_string(), longest);
        assert_eq!(Shown::new(&format!("{longest}\u{e9}")).to_string(), format!("{longest}..."));
    }
}
