//! Whether a range of a file lies in the page cache, and a way to bring it there. The output of a connection asks
//! before the kernel sends a range: `sendfile` of what must first come from the disk would hold the thread, and with
//! it every other connection that the thread serves.

use crate::dispatch::FileRange;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;

/// A page in so many bytes stands for its neighbours: the kernel reads ahead by more than that.
const PROBE_STRIDE_BYTES: usize = 64 << 10;
/// So much is looked at, and then sent, at a time.
const PROBED_BYTES_MAX: usize = 512 << 10;
/// So much is brought in at a time.
const LOADED_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 128 << 10;

/// How many bytes from the range's start on the kernel has at hand; 0 if the first is not among them. Where the file
/// system cannot say, all of them.
pub(super) fn resident_bytes(range: &FileRange) -> usize {
    let most = range.length.min(PROBED_BYTES_MAX);
    (0..most).step_by(PROBE_STRIDE_BYTES).find(|&at| !is_resident(range, at)).unwrap_or(most)
}

fn is_resident(range: &FileRange, at: usize) -> bool {
    let mut byte = [0];
    let read = preadv2(
        &*range.file,
        &mut [IoSliceMut::new(&mut byte)],
        range.position + at as u64,
        ReadWriteFlags::NOWAIT,
    );
    !matches!(read, Err(Errno::AGAIN))
}

/// Reads the beginning of the range, so that the kernel has it. Blocks for as long as the disk takes. Returns how many
/// bytes may be sent now; all of them where reading failed, for then sending says why.
pub(super) fn load(range: &FileRange) -> usize {
    let most = range.length.min(LOADED_BYTES_MAX);
    let mut buffer = vec![0; READ_BYTES.min(most)];
    let mut loaded = 0;
    while loaded < most {
        let wanted = buffer.len().min(most - loaded);
        match range.file.read_at(&mut buffer[..wanted], range.position + loaded as u64) {
            Ok(0) => return range.length,
            Ok(count) => loaded += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return range.length,
        }
    }
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[test]
    fn what_was_just_written_is_at_hand_and_a_short_file_is_left_to_sending() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 3 << 20]).unwrap();
        let file = Arc::new(file);
        let range = |position, length| FileRange { file: Arc::clone(&file), position, length };
        assert_eq!(resident_bytes(&range(10, 100_000)), 100_000);
        assert_eq!(resident_bytes(&range(10, 2 << 20)), PROBED_BYTES_MAX);
        assert_eq!(load(&range(10, 100_000)), 100_000);
        assert_eq!(load(&range(10, 2 << 20)), LOADED_BYTES_MAX);
        assert_eq!(load(&range(3 << 20, 77)), 77);
    }
}
