//! "Did you mean": the known name that is closest to an unknown one.

/// Names further away than this (0 to 1, Jaro-Winkler) are no help.
const SIMILAR: f64 = 0.75;

/// The most similar of the known names, if any is similar.
pub(crate) fn closest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.to_owned())
}

/// The end of a sentence about an unknown name.
pub(crate) fn hint(suggestion: Option<&String>) -> String {
    suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word() {
        let known = ["restart", "resource", "start"];
        assert_eq!(closest("restrat", known).as_deref(), Some("restart"));
        assert_eq!(closest("banana", known), None);
        assert_eq!(hint(closest("stat", known).as_ref()), " (did you mean `start`?)");
    }
}
