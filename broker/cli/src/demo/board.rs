//! The picture: a row for each partition, a bar for each topic, of the records that came lately. On a terminal it is
//! drawn in place; elsewhere it is printed once for each rule, in plain lines.

use super::watch::{Count, Frame};
use super::{PARTITIONS, TOPICS};
use crate::output::grouped;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// Columns of the longest bar.
const BAR: usize = 18;
const VIP: char = '█';
const OTHER: char = '░';

pub struct Board {
    /// None where it is not drawn in place.
    rows: Option<(MultiProgress, Vec<ProgressBar>)>,
    last: Vec<String>,
}

impl Board {
    pub fn new() -> Board {
        let rows = std::io::stdout().is_terminal().then(|| {
            let all = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout());
            let style =
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            let bars = (0..PARTITIONS + 2).map(|_| all.add(ProgressBar::new(1).with_style(style.clone())));
            let bars: Vec<_> = bars.collect();
            (all, bars)
        });
        Board { rows, last: Vec::new() }
    }

    pub fn draw(&mut self, frame: &Frame, rule: &str, acknowledged: u64) {
        self.last = lines(frame, rule, acknowledged);
        if let Some((_, bars)) = &self.rows {
            bars.iter().zip(&self.last).for_each(|(bar, line)| bar.set_message(line.clone()));
        }
    }

    /// The end of a phase: what was seen last is kept where nothing was drawn.
    pub fn hold(&self) {
        if self.rows.is_none() {
            self.last.iter().for_each(|line| println!("{}", line.trim_end()));
        }
    }

    /// A line above the picture.
    pub fn say(&self, line: &str) {
        match &self.rows {
            // An error means that the terminal has gone.
            Some((all, _)) => drop(all.println(line)),
            None => println!("\n{line}\n"),
        }
    }

    /// Leaves the last picture standing, and goes on below it.
    pub fn done(&self) {
        if let Some((_, bars)) = &self.rows {
            bars.iter().for_each(ProgressBar::abandon);
            println!();
        }
    }
}

fn lines(frame: &Frame, rule: &str, acknowledged: u64) -> Vec<String> {
    let mut lines = Vec::with_capacity(PARTITIONS as usize + 2);
    let mut heading = "          ".to_owned();
    for (_, plugin) in TOPICS {
        heading.push_str(&format!("{plugin:<width$}", width = BAR + 8));
    }
    lines.push(heading);
    for partition in 0..PARTITIONS as usize {
        let mut line = format!("{:>9} ", format!("p{partition}"));
        for topic in frame {
            let most = topic.iter().map(|count| count.sum()).max().unwrap_or(0);
            line.push_str(&cell(topic[partition], most));
        }
        lines.push(line);
    }
    let acknowledged = grouped(acknowledged);
    lines.push(format!(
        "          {VIP} vip- keys  {OTHER} all others   {rule}   {acknowledged} records acknowledged"
    ));
    lines
}

/// A bar in proportion to the fullest partition, and the count.
fn cell(count: Count, most: u64) -> String {
    let columns = |records: u64| (records as usize * BAR).div_ceil(most.max(1) as usize);
    let all = columns(count.sum());
    let vip = columns(count.vip).min(all);
    let mut cell: String = std::iter::repeat_n(VIP, vip).collect();
    cell.extend(std::iter::repeat_n(OTHER, all - vip));
    cell.extend(std::iter::repeat_n(' ', BAR - all));
    format!("{cell}{:>6}  ", count.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        let width = |cell: String| cell.chars().count();
        let full = cell(Count { vip: 10, other: 0 }, 10);
        assert_eq!(full.matches(VIP).count(), BAR);
        let half = cell(Count { vip: 0, other: 5 }, 10);
        assert_eq!((half.matches(OTHER).count(), half.matches(VIP).count()), (BAR / 2, 0));
        let none = cell(Count::default(), 0);
        assert_eq!(none.matches(' ').count(), width(none.clone()) - 1);
        assert!([half, none].into_iter().all(|cell| width(cell) == width(full.clone())));
    }

    #[test]
    fn a_picture_has_a_row_for_each_partition() {
        assert_eq!(lines(&Frame::default(), "rule", 0).len(), PARTITIONS as usize + 2);
    }
}
