//! The bindings that are checked in must say what `wit/` says.

mod generator;

#[test]
fn checked_in_bindings_are_those_of_the_contract() {
    for (path, text) in generator::bindings().unwrap() {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not what wit/ says; run `cargo run -p ottla-componentize --example bindings`",
            path.display()
        );
    }
}
