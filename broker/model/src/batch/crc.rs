//! CRC32C, the checksum of a batch, over bytes and over bytes that were summed before. Whoever puts another header
//! before records that stay derives the new CRC from the old one: the records are neither read nor trusted anew.

/// The polynomial of CRC32C (Castagnoli), lowest power in the highest bit, without its highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1 in that order of bits.
const ONE: u32 = 1 << 31;
/// Lengths up to 2 GiB: one entry a bit.
const LENGTH_BITS: usize = 32;

/// `SHIFTS[k]` is x to the power 8 * 2^k: what 2^k bytes of zeros multiply a CRC by.
const SHIFTS: [u32; LENGTH_BITS] = {
    let mut shifts = [0; LENGTH_BITS];
    let mut shift = ONE >> 8;
    let mut at = 0;
    while at < LENGTH_BITS {
        shifts[at] = shift;
        shift = multiply(shift, shift);
        at += 1;
    }
    shifts
};

/// CRC32C of the slices as if they stood together.
pub fn crc(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

/// The CRC of two byte strings that stand together, from the CRC of each and the length of the second.
pub fn combine_crc(first: u32, second: u32, second_bytes: usize) -> u32 {
    let mut shifted = first;
    let mut left = second_bytes;
    while left != 0 {
        shifted = multiply(shifted, SHIFTS[left.trailing_zeros() as usize % LENGTH_BITS]);
        left &= left - 1;
    }
    shifted ^ second
}

/// The CRC after bytes at the beginning changed: `old` and `new` are the CRCs of those bytes before and after, `whole`
/// is the CRC of everything before, and `rest_bytes` is how many bytes follow them.
pub fn replace_crc(whole: u32, old: u32, new: u32, rest_bytes: usize) -> u32 {
    combine_crc(old ^ new, whole, rest_bytes)
}

/// The product of two polynomials over GF(2), modulo that of the CRC.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // All ones where the bit is set: a branch would be guessed wrong every other time.
        product ^= b & ((a << bit) as i32 >> 31) as u32;
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        bit += 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_combined_crc_is_that_of_the_whole(first: Vec<u8>, second: Vec<u8>) {
            let whole = crc(&[&first, &second]);
            prop_assert_eq!(combine_crc(crc(&[&first]), crc(&[&second]), second.len()), whole);
        }

        #[test]
        fn a_replaced_beginning_gives_the_crc_of_the_new_whole(old: [u8; 40], new: [u8; 40], rest: Vec<u8>) {
            let derived = replace_crc(crc(&[&old, &rest]), crc(&[&old]), crc(&[&new]), rest.len());
            prop_assert_eq!(derived, crc(&[&new, &rest]));
        }

        #[test]
        fn large_lengths_agree_with_the_library(first: u32, second: u32, bytes in 0usize..1 << 31) {
            prop_assert_eq!(combine_crc(first, second, bytes), crc32c::crc32c_combine(first, second, bytes));
        }
    }
}
