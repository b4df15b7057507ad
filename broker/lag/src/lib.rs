//! How far consumers are behind, and whether that is trouble: sliding windows of commits, Burrow's rules made right for
//! what it raises false alarms about, rates, and the picture that the server shows. Pure: time and offsets are
//! arguments. The server stands before it (commits as groups make them, log ends as it reads them) and behind it
//! (HTTP, metrics, alerts).
//!
//! Map: a [`Book`] holds one cluster; [`judge`] says what a window means; a [`PairView`] and a [`GroupView`] are what
//! is shown of it. Invariant: memory is bounded by the settings, and nothing is allocated for a judgement.

mod book;
pub mod bounds;
mod judge;
mod names;
mod pairs;
mod places;
mod slab;
mod status;
mod view;
mod window;

pub use book::{Book, Change, Ends, Position, Settings, Taken, Wanted};
pub use judge::{Case, judge, patience_ms};
pub use pairs::Unread;
pub use status::{GroupStatus, Status};
pub use view::{GroupView, PairView};
pub use window::{Commit, LAG_UNKNOWN, Window};
