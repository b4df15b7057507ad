//! How the programs fail: with a sentence for whoever started them.

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
