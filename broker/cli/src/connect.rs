//! How a command reaches a broker: the options that all of them share, and what they make of them.

use crate::admin_http::AdminHttp;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use ottla_client::{Admin, Cluster, Options, Resource};
use std::time::Duration;

/// The config key by which a broker says where its HTTP admin listens.
const ADMIN_LISTENER: &str = "ottla.admin.listener";

#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// Any broker of the cluster, as HOST:PORT
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", global = true)]
    pub bootstrap_server: String,
    /// How long an answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true, hide = true)]
    pub timeout_s: u64,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub output: Output,
}

impl Connect {
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let options = Options { timeout: Duration::from_secs(self.timeout_s.max(1)), ..Options::default() };
        Ok(Cluster::connect(&self.bootstrap_server, options).await?)
    }

    /// Finds the HTTP admin by the broker's configs.
    pub async fn admin_http(&self, cluster: &Cluster) -> anyhow::Result<AdminHttp> {
        let address = self.admin_listener(cluster).await?.with_context(|| {
            format!(
                "the broker at {} has no {ADMIN_LISTENER}: it is no Ottla broker, and has no plugins",
                self.bootstrap_server
            )
        })?;
        Ok(AdminHttp::new(&address))
    }

    /// HOST:PORT of the HTTP admin; none for a broker that is not Ottla's.
    pub async fn admin_listener(&self, cluster: &Cluster) -> anyhow::Result<Option<String>> {
        let brokers = cluster.brokers().await?;
        let id = brokers.first().context("the cluster has no broker at the moment; try again")?.id;
        let described = Admin::new(cluster)
            .describe_configs(&Resource::Broker(Some(id)), Some(&[ADMIN_LISTENER]))
            .await?;
        let listener = described.into_iter().find(|entry| entry.name == ADMIN_LISTENER);
        let Some(listener) = listener.and_then(|entry| entry.value) else {
            return Ok(None);
        };
        let address = reachable(&listener, &self.bootstrap_server)
            .with_context(|| format!("{ADMIN_LISTENER}={listener} is not HOST:PORT"))?;
        Ok(Some(address))
    }
}

/// The listener as it can be reached from here: one that is bound to every address is on the broker's host.
fn reachable(listener: &str, bootstrap: &str) -> Option<String> {
    let (host, port) = listener.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    if matches!(host, "" | "0.0.0.0" | "[::]" | "::") {
        let first = bootstrap.split(',').next()?;
        let (host, _) = first.trim().rsplit_once(':')?;
        return Some(format!("{host}:{port}"));
    }
    Some(listener.to_owned())
}

/// Runs a command that is mostly waiting.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime does not start")?;
    runtime.block_on(command)
}

/// Runs a command that works on several cores.
pub fn block_on_all<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime does not start")?;
    runtime.block_on(command)
}

/// `KEY=VALUE`, for clap.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_on_the_brokers_host() {
        assert_eq!(reachable("127.0.0.1:9644", "other:9092").as_deref(), Some("127.0.0.1:9644"));
        assert_eq!(reachable("0.0.0.0:9644", "broker-1:9092,b:1").as_deref(), Some("broker-1:9644"));
        assert_eq!(reachable("[::]:9644", "[::1]:9092").as_deref(), Some("[::1]:9644"));
        assert_eq!(reachable("nonsense", "a:1"), None);
        assert_eq!(reachable("a:b", "a:1"), None);
    }

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
