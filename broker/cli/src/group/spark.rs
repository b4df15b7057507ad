//! A row of lags as a line of bars: a picture of whether a reader falls behind, in the room of a word.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `columns` values, oldest first, the largest of them as a full bar; nothing behind is the lowest.
pub fn spark(values: &[i64], columns: usize) -> String {
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let top = BARS.len() as i128 - 1;
    shown
        .iter()
        .map(|value| {
            let height = (i128::from((*value).max(0)) * top + i128::from(most) - 1) / i128::from(most);
            BARS[height.clamp(0, top) as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_lags() {
        assert_eq!(spark(&[0, 0, 0], 10), "▁▁▁");
        assert_eq!(spark(&[0, 1, 4, 7], 10), "▁▂▅█");
        assert_eq!(spark(&[9, 9, 0, 1, 2], 3), "▁▅█");
        assert_eq!(spark(&[], 3), "");
        // What a broken answer may hold.
        assert_eq!(spark(&[i64::MIN, i64::MAX], 3), "▁█");
    }
}
