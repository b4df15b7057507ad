//! The folders' part of the metrics page: which folders of `log.dirs` have failed. Read from `Folders` at each scrape.

use std::sync::Arc;

use super::{Metrics, Sample, Type};
use crate::partitions::Folders;

/// Puts the folders on the page.
pub fn register_folders(metrics: &Metrics, folders: &Arc<Folders>) {
    let all = Arc::clone(folders);
    metrics.register("ottla_offline_log_dirs", "Folders of log.dirs that failed", Type::Gauge, move || {
        let offline = (0..all.len()).filter(|&folder| all.is_offline(folder)).count();
        vec![Sample::new(Vec::new(), offline as f64)]
    });
    let all = Arc::clone(folders);
    metrics.register("ottla_log_dir_online", "1 while the folder is in order", Type::Gauge, move || {
        let sample = |folder| {
            let path = all.path(folder).display().to_string();
            Sample::new(vec![("log_dir", path)], f64::from(u8::from(!all.is_offline(folder))))
        };
        (0..all.len()).map(sample).collect()
    });
}
