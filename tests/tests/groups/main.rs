//! Groups of consumers, over real sockets, against a broker process: members that join, leave and crash, offsets that
//! are committed and read back, restarts.

mod admin;
mod classic;
mod cli;
mod consumer;
mod hostile;
mod kills;
mod lag;
mod member;
mod offsets;
