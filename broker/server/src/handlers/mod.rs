//! One file per Kafka API, each `validate -> apply -> answer`. The router stands before them; behind them are metadata,
//! partitions and the plugin stage.

pub mod api_versions;
