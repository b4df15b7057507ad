//! The broker's side of the wire: frames against the guard and the decoder, and raw sockets against the connection.

mod allocation;
mod client;
mod frames;
mod guard;
mod limits;
mod order;
mod service;
mod versions;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;
