//! Groups of the classic protocol: members join, one of them leads and assigns, the others sync. The shard brings their
//! requests and timers; records are written when a generation has its assignments, when a static member is replaced,
//! and when the last member is gone. Everything else is memory, which members make anew after a restart.

mod effect;
mod group;
mod join;
mod life;
mod member;
mod protocol;
mod rebalance;
mod settle;
mod sync;

pub(crate) use effect::Effect;
pub(crate) use group::ClassicGroup;
