//! The search for traces: every file of a data folder as it is, and every record batch that lies anywhere in one,
//! opened. A batch is found by its checksum, so that it does not matter what surrounds it, as in a lane's entry.

use std::fs;
use std::path::Path;

use anyhow::Result;
use ottla_model::batch::{HEADER_BYTES, Header, Limit, check_crc, records_area};

/// Where in a batch its format's version stands, and which it is.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

/// The places that hold `needle`, each once.
pub fn finds(folder: &Path, needle: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    search(folder, needle, &mut found)?;
    Ok(found)
}

fn search(folder: &Path, needle: &[u8], found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "ottla-plugins") {
                // A folder may go while it is read.
                search(&path, needle, found)
                    .or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
            }
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if holds(&bytes, needle) || opened(&bytes).any(|records| holds(&records, needle)) {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The records of every compressed batch in these bytes.
fn opened(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len().saturating_sub(HEADER_BYTES)).filter_map(|at| {
        let rest = &bytes[at..];
        if rest[MAGIC_AT] != MAGIC {
            return None;
        }
        let size = Header::parse(rest).ok()?.size();
        let batch = rest.get(..size)?;
        check_crc(batch).ok()?;
        let mut scratch = Vec::new();
        Some(records_area(batch, &mut scratch, Limit::default()).ok()?.to_vec())
    })
}
