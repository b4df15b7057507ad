//! The broker's HTTP admin, as the commands call it: JSON back, and an error's sentence and hint as one error.

use anyhow::{Context, bail};
use serde_json::Value;
use std::time::Duration;

/// Compiling a large component takes seconds, and a broker may be asked to compile several.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The longest answer that is read, in bytes: a page of log lines.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Nobody answered at the address that the broker gives.
#[derive(Debug)]
pub struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the HTTP admin at {} cannot be reached; is the broker running?", self.0)
    }
}

pub struct AdminHttp {
    agent: ureq::Agent,
    base: String,
}

impl AdminHttp {
    /// `address` is HOST:PORT.
    pub fn new(address: &str) -> AdminHttp {
        AdminHttp::within(format!("http://{address}"), TIMEOUT)
    }

    /// The same for requests that may take so long.
    pub fn patient(self, timeout: Duration) -> AdminHttp {
        AdminHttp::within(self.base, timeout)
    }

    fn within(base: String, timeout: Duration) -> AdminHttp {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            // The broker is named by its address; a proxy for the internet would not find it.
            .proxy(None)
            .build();
        AdminHttp { agent: config.into(), base }
    }

    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut request = self.agent.get(self.url(path));
        for (key, value) in query {
            request = request.query(key, value);
        }
        self.answer(path, request.call())
    }

    pub fn post(&self, path: &str, query: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Value> {
        let mut request = self.agent.post(self.url(path)).header("content-type", "application/wasm");
        for (key, value) in query {
            request = request.query(key, value);
        }
        self.answer(path, request.send(body))
    }

    pub fn post_json(&self, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        self.answer(path, request.send(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.answer(path, self.agent.put(self.url(path)).send_json(body))
    }

    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(path, self.agent.delete(self.url(path)).call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn answer(
        &self,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let mut response = response.context(Unreachable(self.base.clone()))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .with_context(|| format!("{}{path} broke off", self.base))?;
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(json);
        }
        match (json["error"].as_str(), json["hint"].as_str()) {
            (Some(error), Some(hint)) if !hint.is_empty() => bail!("{error}; {hint}"),
            (Some(error), _) => bail!("{error}"),
            _ => bail!("{}{path} answered {status}; is it an Ottla broker?", self.base),
        }
    }
}

/// A name as one part of a path.
pub fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte as char);
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(escaped("vip-weighted_1.0"), "vip-weighted_1.0");
        assert_eq!(escaped("a/b?c d"), "a%2Fb%3Fc%20d");
    }
}
