//! What a full disk, or a lack of descriptors, means to the metadata: a change is refused before it is ordered, and what
//! is ordered already waits until there is room. The quorum takes any failed write for its end, so none that passes
//! may reach it. Before this stands `Metadata::change`, and the log store and the snapshots stand on it.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::StorageError;

use super::bounds::RESERVE_BYTES;

/// How long a write waits until it is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Refuses a change of so many bytes while the disk has not clearly room for it.
///
/// # Errors
/// KAFKA_STORAGE_ERROR, with what to do.
pub(super) fn ensure(folder: &Path, bytes: usize) -> Result<(), KafkaError> {
    let needed = RESERVE_BYTES.saturating_add(2 * bytes as u64);
    // A file system that does not say what it has is asked by the write itself.
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let message = format!(
        "no space is left for the cluster's metadata: {} has {free} bytes free, and a change needs {needed}; nothing \
         was changed. Free some space and try again, there is no need to restart the broker",
        folder.display()
    );
    Err(KafkaError::new(ErrorCode::KafkaStorageError, message))
}

/// Does what must be done, again and again as long as only room or a descriptor is lacking.
pub(super) async fn when_there_is_room<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut told = false;
    loop {
        match attempt().await {
            Err(error) if passes(&error) => {
                if !told {
                    tracing::error!(%error, "{what} waits until the disk has room");
                    told = true;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Ok(done) => {
                if told {
                    tracing::info!("{what} has gone on");
                }
                return Ok(done);
            }
            failed => return failed,
        }
    }
}

/// Whether the same call may succeed later.
fn passes(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StorageError>());
    let descriptors = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| errno.raw_os_error());
    match inner {
        Some(inner) => inner.is_retriable(),
        None => {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
                || error.raw_os_error().is_some_and(|code| descriptors.contains(&code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[tokio::test]
    async fn only_what_passes_is_waited_for() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let of_log = || {
            io::Error::other(StorageError::DiskFull {
                action: "append to",
                path: PathBuf::new(),
                source: full(),
            })
        };
        let mut left = vec![of_log(), full(), io::Error::from_raw_os_error(24)];
        let mut attempts = 0;
        let done = when_there_is_room("a test", || {
            attempts += 1;
            std::future::ready(left.pop().map_or(Ok(7), Err))
        });
        assert_eq!(done.await.unwrap(), 7);
        assert_eq!(attempts, 4);
        let broken = || std::future::ready(Err::<(), _>(io::Error::from_raw_os_error(5)));
        assert_eq!(when_there_is_room("a test", broken).await.unwrap_err().raw_os_error(), Some(5));
        assert!(ensure(Path::new("/"), 0).is_ok());
        assert_eq!(ensure(Path::new("/"), usize::MAX / 4).unwrap_err().code, ErrorCode::KafkaStorageError);
    }
}
