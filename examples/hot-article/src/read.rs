//! A member of the group `article-read`: it brings the events of its partitions into the read model, writes the shelves
//! that changed, and commits what is written. While FOLDER/slow is there it takes its time over each event, so that the
//! group's lag grows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::message::Message;

use crate::events::article_of;
use crate::group::{Member, Place};
use crate::model::Shelf;
use crate::outcome::Outcome;

/// How often shelves are written and offsets committed.
const TURN: Duration = Duration::from_millis(500);
/// What an event costs a member that is slowed down.
const SLOW: Duration = Duration::from_millis(10);

/// Reads until it is told to stop.
pub fn run(address: &str, folder: &Path, name: &str) -> Outcome<()> {
    let member = Member::join("article-read", address, folder, name)?;
    let mut shelves: BTreeMap<Place, (Shelf, bool)> = BTreeMap::new();
    let mut done = BTreeMap::new();
    let mut turn = Instant::now();
    while member.goes_on() {
        let record = member.poll()?;
        for place in member.lost() {
            // What was not written yet is read again by whoever has it now.
            shelves.remove(&place);
            done.remove(&place);
        }
        if let Some(record) = record
            && let Some(article) = article_of(record.key())
        {
            let place = (record.topic().to_owned(), record.partition());
            if !shelves.contains_key(&place) {
                shelves.insert(place.clone(), (Shelf::load(folder, &place)?, false));
            }
            if let Some((shelf, is_new)) = shelves.get_mut(&place) {
                shelf.take(record.topic(), record.offset(), article, record.payload().unwrap_or_default())?;
                *is_new = true;
            }
            if folder.join("slow").exists() {
                std::thread::sleep(SLOW);
            }
        }
        if turn.elapsed() >= TURN {
            for (place, (shelf, is_new)) in shelves.iter_mut().filter(|(_, (_, is_new))| *is_new) {
                shelf.save(folder, place, name)?;
                *is_new = false;
                done.insert(place.clone(), shelf.next_offset);
            }
            member.commit(&mut done)?;
            turn = Instant::now();
        }
    }
    Ok(())
}
