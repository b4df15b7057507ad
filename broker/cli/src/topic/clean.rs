//! `ottla topic clean`: a retention pass on request, and what it removed.

use crate::connect::Connect;
use crate::plugin::retention;

pub async fn run(connect: &Connect, topic: &str) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let http = connect.admin_http(&cluster).await?;
    let report = retention::clean(&http, topic)?;
    connect.output.print(&report, || retention::report(&report))
}
