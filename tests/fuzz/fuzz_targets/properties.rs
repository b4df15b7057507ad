//! A `server.properties` file: its syntax, and the judgement of every key and value that it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz as _;
use ottla_model::config::layers::Values;
use ottla_model::config::{Layers, Scope, TopicConfig, validate};
use ottla_server::config::properties::parse;

fuzz_target!(|text: &[u8]| {
    let Ok(properties) = parse(text) else { return };
    let mut values = Values::new();
    for property in properties {
        for scope in [Scope::Broker, Scope::Topic] {
            if let Err(error) = validate(scope, &property.key, &property.value) {
                assert!(!error.to_string().is_empty());
            }
        }
        values.insert(property.key, property.value);
    }
    let _ = TopicConfig::read(&values, &Layers::new(vec![&values]));
});
