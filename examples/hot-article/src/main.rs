//! The programs of the example, one subcommand each; `run` beside this folder starts them all.
//!
//! ```text
//! hot-article board ADDRESS FOLDER         writes articles, comments, likes and views, until FOLDER/stop-board is there
//! hot-article hot   ADDRESS FOLDER NAME    a member of the group `hot-article`: counts what is hot
//! hot-article top   ADDRESS FOLDER         shows the ten hottest articles now and then
//! hot-article read  ADDRESS FOLDER NAME    a member of the group `article-read`: keeps the read model in FOLDER/model
//! hot-article pages ADDRESS FOLDER         shows some pages of the read model, and whether it has all that was written
//! ```
//!
//! All but `pages` run until FOLDER/stop is there. They know Kafka alone: ADDRESS can be any broker of its protocol.

mod board;
mod events;
mod group;
mod hot;
mod model;
mod outcome;
mod read;
mod top;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["board", address, folder] => board::run(address, Path::new(folder)),
        ["hot", address, folder, name] => hot::run(address, Path::new(folder), name),
        ["top", address, folder] => top::run(address, Path::new(folder)),
        ["read", address, folder, name] => read::run(address, Path::new(folder), name),
        ["pages", address, folder] => model::show(address, Path::new(folder)),
        _ => Err("usage: hot-article board|hot|top|read|pages ADDRESS FOLDER [NAME]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot-article {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
