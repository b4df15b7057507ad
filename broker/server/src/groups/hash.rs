//! Which partition of `__consumer_offsets` holds a group: Kafka's own rule, so that a folder of Kafka's and what tools
//! compute agree with ours.

/// The partition of a group among `partitions` of them: Java's hash of the name without its sign, and 0 for the one
/// hash whose sign cannot be taken off. 0 where there are no partitions.
pub fn partition_for(group: &str, partitions: usize) -> usize {
    let positive = java_hash(group).checked_abs().map_or(0, i32::unsigned_abs);
    (positive as usize).checked_rem(partitions).unwrap_or(0)
}

/// `String.hashCode` of Java, which counts in UTF-16.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // The known collision, a name whose hash is negative, one beyond the first plane, and Integer.MIN_VALUE.
        assert_eq!((java_hash(""), java_hash("Aa"), java_hash("BB")), (0, 2112, 2112));
        assert_eq!(java_hash("console-consumer-12345"), console());
        assert_eq!(java_hash("😀"), 0xd83d_i32 * 31 + 0xde00);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }

    /// As the definition has it: the sum of each unit times 31 to the power of those that follow.
    fn console() -> i32 {
        let units: Vec<i64> = "console-consumer-12345".encode_utf16().map(i64::from).collect();
        let mut sum = 0i64;
        for (at, unit) in units.iter().enumerate() {
            let mut term = *unit;
            for _ in at + 1..units.len() {
                term = (term * 31) & 0xffff_ffff;
            }
            sum = (sum + term) & 0xffff_ffff;
        }
        sum as u32 as i32
    }

    #[test]
    fn a_group_has_a_partition_whatever_its_hash() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("Aa", 50), 12);
        assert_eq!(partition_for("any", 0), 0);
        for number in 0..1_000 {
            assert!(partition_for(&format!("group-{number}"), 50) < 50);
        }
        let negative = (0..).map(|number| format!("g{number}")).find(|name| java_hash(name) < 0);
        let name = negative.expect("half of all names have a negative hash");
        assert_eq!(partition_for(&name, 50), (java_hash(&name).unsigned_abs() % 50) as usize);
    }
}
