//! The command line against a broker of its own: what each command prints for machines, and what it says when
//! something is wrong.

mod demo;
mod groups;
mod ottla;
mod plugins;
mod records;
mod topics;
