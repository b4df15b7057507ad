//! Rows of equal length in memory that grows chunk by chunk, so that growth copies nothing and a hundred thousand rows
//! are a few hundred allocations. The book's windows and samples lie in it.

/// Rows in one allocation.
const CHUNK_ROWS: usize = 64;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    width: usize,
    chunks: Vec<Box<[T]>>,
}

impl<T: Copy + Default> Slab<T> {
    /// Rows of `width` items.
    pub fn new(width: usize) -> Slab<T> {
        Slab { width, chunks: Vec::new() }
    }

    /// Makes sure that row `index` exists; what it holds is what its last user left there.
    pub fn reach(&mut self, index: u32) {
        while self.chunks.len() * CHUNK_ROWS <= index as usize {
            self.chunks.push(vec![T::default(); CHUNK_ROWS * self.width].into_boxed_slice());
        }
    }

    pub fn row(&self, index: u32) -> &[T] {
        let (chunk, row) = (index as usize / CHUNK_ROWS, index as usize % CHUNK_ROWS);
        &self.chunks[chunk][row * self.width..(row + 1) * self.width]
    }

    pub fn row_mut(&mut self, index: u32) -> &mut [T] {
        let (chunk, row) = (index as usize / CHUNK_ROWS, index as usize % CHUNK_ROWS);
        &mut self.chunks[chunk][row * self.width..(row + 1) * self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_do_not_touch_each_other() {
        let mut slab: Slab<u8> = Slab::new(3);
        slab.reach(200);
        for index in 0..=200 {
            slab.row_mut(index).fill(index as u8);
        }
        for index in 0..=200 {
            assert_eq!(slab.row(index), [index as u8; 3]);
        }
    }
}
