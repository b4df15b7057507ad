//! The walk over consecutive batches in a buffer: the records field of a produce request, or a piece of a segment.
//! Each step checks that the batch is there whole; what it holds is for [`super::validate`] to check.

use super::fault::BatchError;
use super::header::Header;

/// Iterates over `(header, whole batch)`. After an error it ends. An incomplete last batch is `Short`, as a fetch
/// response and a torn segment may end in one.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    left: &'a [u8],
    position: usize,
}

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches { left: bytes, position: 0 }
    }

    /// Bytes from the buffer's begin to the batch that comes next: after an error, how far it was sound.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(Header, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let header = match Header::parse(self.left) {
            Ok(header) => header,
            Err(error) => {
                self.left = &[];
                return Some(Err(error));
            }
        };
        let Some((batch, left)) = self.left.split_at_checked(header.size()) else {
            let have = self.left.len();
            self.left = &[];
            return Some(Err(BatchError::Short { have, need: header.size() }));
        };
        self.left = left;
        self.position += batch.len();
        Some(Ok((header, batch)))
    }
}
