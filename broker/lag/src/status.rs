//! What a partition's window and a group's partitions mean, in Burrow's words and in its order from good to bad.

/// Of one partition of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    #[default]
    Ok,
    /// It makes progress, and falls further behind all the same.
    Warn,
    /// It has something to read, and commits nothing any more.
    Stop,
    /// It commits, and always the same offset, while there is something to read.
    Stall,
    /// It committed an offset below one that it had committed before, and did not come back to that yet.
    Rewind,
}

impl Status {
    /// As Burrow's JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Warn => "WARN",
            Status::Stop => "STOP",
            Status::Stall => "STALL",
            Status::Rewind => "REWIND",
        }
    }

    /// Burrow's number of it, which its metrics show.
    pub fn number(self) -> u8 {
        match self {
            Status::Ok => 1,
            Status::Warn => 2,
            Status::Stop => 4,
            Status::Stall => 5,
            Status::Rewind => 6,
        }
    }
}

/// Of a group: its worst partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum GroupStatus {
    #[default]
    Ok,
    Warn,
    /// A partition is stopped, stalled or rewound.
    Err,
}

impl GroupStatus {
    pub fn name(self) -> &'static str {
        match self {
            GroupStatus::Ok => "OK",
            GroupStatus::Warn => "WARN",
            GroupStatus::Err => "ERR",
        }
    }

    /// Burrow's number of it.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl From<Status> for GroupStatus {
    fn from(status: Status) -> GroupStatus {
        match status {
            Status::Ok => GroupStatus::Ok,
            Status::Warn => GroupStatus::Warn,
            Status::Stop | Status::Stall | Status::Rewind => GroupStatus::Err,
        }
    }
}
