//! Turns a record batch into the columns that a plugin reads, and nothing more: a plugin of keys never costs a copy
//! of a value, and one that reads no field leaves a compressed batch closed. The stage calls it before each call.
//!
//! Invariant: the columns have one entry per record of the header's count, or the batch is refused.

use ottla_model::batch::{Header, Limit, Summary, records_area, summarize_with};
use ottla_model::error::ErrorCode;
use ottla_plugin_host::{Columns, Fields};
use ottla_replication::AppendError;

/// Fills `columns` with the parts in `fields` of the records in `batch`, which is whole and has `header`. `scratch`
/// takes the records of a compressed batch. Where the records had to be looked at, what the append needs to know of
/// them is found on the way, so that a batch is decompressed once.
///
/// # Errors
/// INVALID_RECORD or CORRUPT_MESSAGE, for records that are not what the header says.
pub(super) fn fill(
    columns: &mut Columns,
    scratch: &mut Vec<u8>,
    fields: Fields,
    header: &Header,
    batch: &[u8],
) -> Result<Option<Summary>, AppendError> {
    columns.clear();
    let count = u32::try_from(header.record_count).map_err(|_| {
        AppendError::new(ErrorCode::InvalidRecord, format!("{} records in a batch", header.record_count))
    })?;
    if fields.is_empty() {
        columns.count = count;
        return Ok(None);
    }
    let area = records_area(batch, scratch, Limit::default())?;
    let summary = if fields == Fields::KEYS {
        summarize_with(header, area, |record| columns.push_key(record.key))?
    } else {
        summarize_with(header, area, |record| {
            let timestamp_ms = header.base_timestamp.wrapping_add(record.timestamp_delta);
            let headers = record.headers.iter().map(|header| (header.key, header.value));
            columns.push_record(fields, timestamp_ms, record.key, record.value, headers);
        })?
    };
    Ok(Some(summary))
}
