//! The rules as tables: what Burrow documents, and what its users reported as false alarms or as trouble it missed.
//! A case is a window of commits as (second, offset, log's end at that moment), then what is true at the end.

mod burrow;

use burrow::burrow;
use ottla_lag::{Book, Ends, Position, Settings, Status, Taken, Unread};

struct At(i64, u128);

impl Ends for At {
    fn topic(&mut self, _: &str) -> Result<u128, bool> {
        Ok(self.1)
    }

    fn end(&mut self, _: i32) -> Option<i64> {
        Some(self.0)
    }
}

/// Commits, then looks at (second, log's end) as a tick makes them, and the judgement at the last one.
struct Story {
    commits: Vec<(i64, i64, i64)>,
    looks: Vec<(i64, i64)>,
}

fn book() -> Book {
    Book::new(Settings::default())
}

fn position(offset: i64, second: i64) -> Position<'static> {
    Position { group: "g", topic: "t", partition: 0, offset, at_ms: second * 1_000, source: 0 }
}

fn status(book: &Book, second: i64) -> Status {
    book.pairs_of("g", second * 1_000).next().expect("the pair").status()
}

fn look(book: &mut Book, second: i64, end: i64, topic: u128) {
    book.look(0, usize::MAX, &mut At(end, topic), second * 1_000);
    book.judge(0, usize::MAX, second * 1_000, &mut Vec::new());
}

/// Ours, and Burrow's at the same moment.
fn told(story: &Story) -> (Status, &'static str) {
    let mut book = book();
    // What lies between two commits is looked at in the order of time, as the server does.
    let mut looks = story.looks.iter().peekable();
    let mut ends = Vec::new();
    for (second, offset, end) in &story.commits {
        while let Some((at, end)) = looks.next_if(|(at, _)| at < second) {
            look(&mut book, *at, *end, 1);
            ends.push(*end);
        }
        let end = *end;
        book.commit(&position(*offset, *second), Some(1), Some(end), second * 1_000);
    }
    let mut now = story.commits.last().map_or(0, |commit| commit.0);
    let mut end = story.commits.last().map_or(0, |commit| commit.2);
    for (at, at_end) in looks {
        look(&mut book, *at, *at_end, 1);
        ends.push(*at_end);
        (now, end) = (*at, *at_end);
    }
    look(&mut book, now, end, 1);
    let window: Vec<_> = story.commits.iter().rev().take(10).rev().copied().collect();
    (status(&book, now), burrow(&window, &ends, now, end))
}

/// Every `step` seconds a commit, with the offset and the end that the functions give for its number.
fn every(step: i64, count: i64, offset: fn(i64) -> i64, end: fn(i64) -> i64) -> Vec<(i64, i64, i64)> {
    (0..count).map(|n| (n * step, offset(n), end(n))).collect()
}

#[test]
fn what_burrow_documents_is_judged_alike() {
    let cases: Vec<(&str, Story, Status)> = vec![
        (
            "always at the end",
            Story { commits: every(5, 10, |n| n * 10, |n| n * 10), looks: vec![(50, 90)] },
            Status::Ok,
        ),
        (
            "behind, and catching up",
            Story { commits: every(5, 10, |n| n * 20, |n| 500 + n * 10), looks: vec![(50, 590)] },
            Status::Ok,
        ),
        (
            "at the end once in the window",
            Story {
                commits: every(5, 10, |n| n * 10, |n| if n == 4 { 40 } else { 50 + n * 15 }),
                looks: vec![(46, 190)],
            },
            Status::Ok,
        ),
        (
            "falling behind all along",
            Story { commits: every(5, 10, |n| n * 10, |n| 5 + n * 30), looks: vec![(46, 280)] },
            Status::Warn,
        ),
        (
            "commits the same offset",
            Story { commits: every(5, 10, |_| 100, |n| 150 + n * 10), looks: vec![(46, 245)] },
            Status::Stall,
        ),
        (
            "committed, then silent for longer than the window",
            Story { commits: every(5, 10, |n| n * 10, |n| 500 + n * 10), looks: vec![(60, 600), (100, 700)] },
            Status::Stop,
        ),
        (
            "silent, at the end",
            Story { commits: every(5, 10, |n| n * 10, |n| n * 10), looks: vec![(60, 90), (5_000, 90)] },
            Status::Ok,
        ),
        (
            "went back",
            Story {
                commits: every(5, 10, |n| if n < 6 { 1_000 + n * 10 } else { n * 10 }, |n| 2_000 + n * 10),
                looks: vec![(46, 2_095)],
            },
            Status::Rewind,
        ),
        (
            "silent, and gone back before: stopped comes first",
            Story {
                commits: every(5, 10, |n| if n < 6 { 1_000 + n * 10 } else { n * 10 }, |n| 2_000 + n * 10),
                looks: vec![(60, 2_100), (120, 2_200)],
            },
            Status::Stop,
        ),
    ];
    for (name, story, expected) in cases {
        assert_eq!(told(&story), (expected, expected.name()), "{name}");
    }
}

#[test]
fn false_alarms_are_none_and_trouble_is_not_missed() {
    let cases: Vec<(&str, Story, Status, &str)> = vec![
        (
            // Issues 38, 303: the window is a burst, the topic was idle, a record has just come.
            "a slow topic: the first record after an idle hour",
            Story {
                commits: every(2, 10, |n| n * 10, |n| n * 10),
                looks: vec![(3_600, 90), (3_610, 90), (3_620, 95)],
            },
            Status::Ok,
            "OK",
        ),
        (
            "the same, where the last looks all saw the record",
            Story { commits: every(2, 10, |n| n * 10, |n| n * 10), looks: vec![(3_620, 95), (3_625, 95)] },
            Status::Ok,
            "STOP",
        ),
        (
            // Issues 303, 745: a window of two hours must not hide a consumer that died.
            "commits only when there is something, then died with records waiting",
            Story {
                commits: every(720, 10, |n| n * 10, |n| n * 10),
                looks: vec![(6_500, 90), (6_510, 140), (6_530, 140)],
            },
            Status::Stop,
            "OK",
        ),
        (
            // An hourly job lets records wait for an hour; that is how it works.
            "an hourly job, forty minutes after its last run",
            Story {
                commits: every(3_600, 10, |n| n * 1_000, |n| n * 1_000),
                looks: (0..9)
                    .map(|n| (n * 3_600 + 10, n * 1_000 + 5))
                    .chain([(9 * 3_600 + 10, 9_005), (9 * 3_600 + 2_400, 9_600)])
                    .collect(),
            },
            Status::Ok,
            "OK",
        ),
        (
            "an hourly job that missed four runs",
            Story {
                commits: every(3_600, 10, |n| n * 1_000, |n| n * 1_000),
                looks: (0..9)
                    .map(|n| (n * 3_600 + 10, n * 1_000 + 5))
                    .chain([(9 * 3_600 + 10, 9_005), (13 * 3_600, 13_000)])
                    .collect(),
            },
            Status::Stop,
            "OK",
        ),
        (
            // A single commit shows no pattern (what `minimum-complete` was made for).
            "one commit, with something to read",
            Story { commits: vec![(0, 100, 150)], looks: vec![(0, 150)] },
            Status::Ok,
            "STALL",
        ),
        (
            "two commits, of which little is known, and a minute of silence",
            Story { commits: vec![(0, 100, 150), (5, 120, 160)], looks: vec![(10, 170), (65, 200)] },
            Status::Ok,
            "STOP",
        ),
        (
            // A pipeline with always the same number of records on their way is not falling behind.
            "a constant lag",
            Story { commits: every(5, 10, |n| n * 10, |n| n * 10 + 3), looks: vec![(46, 94)] },
            Status::Ok,
            "WARN",
        ),
        (
            // Issues 155, 738: sawteeth that climb.
            "a lag that climbs in teeth",
            Story {
                commits: every(5, 10, |n| n * 100, |n| n * 100 + 150 + n * 60 - (n % 2) * 110),
                looks: vec![(46, 1_500)],
            },
            Status::Warn,
            "OK",
        ),
        (
            // Burrow's #714, first half: caught up before does not excuse going back.
            "at the end, then back by much",
            Story {
                commits: every(5, 10, |n| if n < 9 { n * 100 } else { 10 }, |n| n * 100),
                looks: vec![(46, 900)],
            },
            Status::Rewind,
            "OK",
        ),
        (
            // Burrow's #714, second half: it is back where it was.
            "went back, and passed where it was",
            Story {
                commits: every(5, 10, |n| if n == 3 { 10 } else { n * 100 }, |n| 5_000 + n * 90),
                looks: vec![(46, 5_815)],
            },
            Status::Ok,
            "REWIND",
        ),
        (
            // Truncated by an election: it could not have stayed.
            "went back because the log was cut",
            Story {
                commits: every(
                    5,
                    10,
                    |n| if n < 6 { 1_000 + n * 10 } else { 100 + n * 10 },
                    |n| {
                        if n < 6 { 1_100 } else { 200 + n * 10 }
                    },
                ),
                looks: vec![(46, 300)],
            },
            Status::Ok,
            "REWIND",
        ),
        (
            // Java commits unchanged positions: the zeros of yesterday must not hide today's stall.
            "idle at the end, then stuck at a bad record",
            Story {
                commits: every(5, 10, |_| 100, |n| if n < 4 { 100 } else { 120 + n }),
                looks: vec![(46, 130)],
            },
            Status::Stall,
            "OK",
        ),
        (
            // Issues 20, 96: behind the end by a stale look, or for good after a loss: negative is none.
            "an offset behind the log's end",
            Story { commits: every(5, 10, |n| 1_000 + n * 10, |n| 900 + n * 10), looks: vec![(500, 990)] },
            Status::Ok,
            "OK",
        ),
    ];
    for (name, story, expected, burrows) in cases {
        assert_eq!(told(&story), (expected, burrows), "{name}");
    }
}

#[test]
fn a_topic_made_anew_begins_anew() {
    // Burrow's #256.
    let mut book = book();
    for n in 0..10 {
        let end = 5_000 + n * 10;
        book.commit(&position(1_000 + n * 10, n * 5), Some(1), Some(end), n * 5_000);
    }
    look(&mut book, 60, 5_100, 2);
    let pair = book.pairs_of("g", 60_000).next().expect("the pair stays");
    assert_eq!((pair.offset(), pair.lag(), pair.window().len()), (None, None, 0));
    let end = 40;
    book.commit(&position(5, 65), Some(2), Some(end), 65_000);
    look(&mut book, 66, 40, 2);
    assert_eq!(status(&book, 66), Status::Ok, "an offset below the old topic's is no step back");
    let pair = book.pairs_of("g", 66_000).next().expect("the pair");
    assert_eq!((pair.lag(), pair.window().len()), (Some(35), 1));
}

#[test]
fn markers_and_removed_records_are_no_lag_to_be_judged() {
    let mut book = book();
    for n in 0..10 {
        let end = 102;
        book.commit(&position(100, n * 5), Some(1), Some(end), n * 5_000);
    }
    look(&mut book, 46, 102, 1);
    assert_eq!(status(&book, 46), Status::Stall);
    let mut wanted = Vec::new();
    book.wanted(10, &mut wanted);
    assert_eq!((wanted.len(), wanted[0].offset, wanted[0].end), (1, 100, 102));
    book.found(&wanted[0], Unread::Nothing);
    look(&mut book, 47, 102, 1);
    assert_eq!(status(&book, 47), Status::Ok);
    let pair = book.pairs_of("g", 47_000).next().expect("the pair");
    assert_eq!((pair.lag(), pair.lag_seconds()), (Some(2), Some(0.0)), "the figure stays Kafka's");
    wanted.clear();
    book.wanted(10, &mut wanted);
    assert_eq!(wanted, [], "what was found stays found");
    look(&mut book, 48, 103, 1);
    book.wanted(10, &mut wanted);
    assert_eq!(wanted.len(), 1, "until the log grows");
    book.found(&wanted[0], Unread::Since(40_000));
    look(&mut book, 50, 103, 1);
    assert_eq!(status(&book, 50), Status::Stall);
    let pair = book.pairs_of("g", 50_000).next().expect("the pair");
    assert_eq!(pair.lag_seconds(), Some(10.0));
}

#[test]
fn what_is_no_offset_is_no_commit() {
    let mut book = book();
    assert_eq!(book.commit(&position(-1, 0), None, None, 0), Taken::Ignored);
    assert_eq!((book.pair_count(), book.group_count()), (0, 0));
    // Neither is what a load tells again.
    let end = Some(10);
    for _ in 0..2 {
        book.commit(&position(5, 1), Some(1), end, 2_000);
    }
    assert_eq!(book.pairs_of("g", 2_000).next().expect("the pair").window().len(), 1);
}

#[test]
fn commits_that_follow_each_other_fast_share_a_place() {
    let mut book = book();
    let end = |end| Some(end);
    for n in 0..100_i64 {
        let at = Position { at_ms: n * 100, ..position(n, 0) };
        book.commit(&at, Some(1), end(n + 5), n * 100);
    }
    let pair = book.pairs_of("g", 9_900).next().expect("the pair");
    let window: Vec<_> =
        pair.window().iter().map(|commit| (commit.at_ms, commit.offset, commit.count)).collect();
    assert_eq!(window.len(), 10);
    assert_eq!((window[0], window[9]), ((0, 9, 10), (9_000, 99, 10)));
    assert_eq!(pair.last_commit_ms(), Some(9_900));
    assert_eq!(pair.commit_rate().map(|rate| rate.round()), Some(10.0));
}
