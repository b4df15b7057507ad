//! The demo checks itself: it fails where a request failed, a record is missing or not where its rule puts it.

use crate::ottla::run;

#[test]
fn the_demo_keeps_what_it_says() {
    let output = run(&["demo"], "");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    for words in ["reloaded the rule 8:2 -> 6:4", "0 failed", "share 0.8:", "share 0.6:", "Next:"] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    // Not a terminal: plain lines.
    assert!(!text.contains('\u{1b}'));
}
