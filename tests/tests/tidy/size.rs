//! Keeps files short enough to be one thing, and free of marks of unfinished work.

use crate::source::{Source, within};

/// A file is one thing. Past this it is two.
const LINES_MAX: usize = 600;

/// Written by a program, and read by nobody.
const GENERATED: &[&str] = &["plugin-sdk/rust/src/bindings"];

/// Put together here, so that this file does not hold them.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

fn is_generated(source: &Source) -> bool {
    GENERATED.iter().any(|generated| within(&source.path, generated))
}

pub fn length_violations(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| !is_generated(source)).filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines; {LINES_MAX} are the limit", source.path))
    });
    long.collect()
}

pub fn word_violations(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !is_generated(source)) {
        for (index, line) in source.text.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            violations.extend(words.filter(|word| UNFINISHED.contains(word)).map(|word| {
                format!("{}:{}: {word} marks unfinished work: finish it, or file it", source.path, index + 1)
            }));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::parse;

    #[test]
    fn long_files_are_found() {
        let (fits, long) = ("\n".repeat(LINES_MAX), "\n".repeat(LINES_MAX + 1));
        assert_eq!(length_violations(&parse(&[("broker/model/src/a.rs", &fits)])), [""; 0]);
        assert_eq!(length_violations(&parse(&[("broker/model/src/a.rs", &long)])).len(), 1);
        let generated = format!("{}/a.rs", GENERATED[0]);
        assert_eq!(length_violations(&parse(&[(generated.as_str(), long.as_str())])), [""; 0]);
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            let marked = format!("fn a() {{}} // {word}: later");
            assert_eq!(word_violations(&parse(&[("broker/model/src/a.rs", &marked)])).len(), 1, "{word}");
            let longer = format!("fn a() {{}} // {word}S_LIST");
            assert_eq!(word_violations(&parse(&[("broker/model/src/a.rs", &longer)])), [""; 0], "{word}");
        }
    }
}
