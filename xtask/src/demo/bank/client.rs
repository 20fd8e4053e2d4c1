//! Somebody who asks the bank: HTTP with a token.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::demo::http::{self, Request, Response};

/// How long anything may take that should happen soon, a restart of the bank included.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// One who has logged in, or has not.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    token: Option<String>,
}

impl Client {
    /// One without a token.
    pub(super) fn stranger(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// One with a token that was come by in any way.
    pub(super) fn with(address: SocketAddr, token: String) -> Self {
        Self { address, token: Some(token) }
    }

    /// One with the token that these credentials give.
    pub(super) fn login(address: SocketAddr, (user, password): (&str, &str)) -> Result<Self> {
        let credentials = json!({ "user": user, "password": password });
        let answer = Self::stranger(address).expect(200, "POST", "/login", &credentials)?;
        let token = answer["token"].as_str().context("the login has no token")?.to_owned();
        Ok(Self { address, token: Some(token) })
    }

    /// The token, if there is one.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn get(&self, path: &str) -> Result<Response> {
        self.send("GET", path, "", "")
    }

    /// What is at `path`, which must be there.
    pub(super) fn get_json(&self, path: &str) -> Result<Value> {
        parse(200, &self.get(path)?)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.send("POST", path, "", &body.to_string())
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Response> {
        self.send("PUT", path, "", &body.to_string())
    }

    /// Pays under a key.
    pub(super) fn pay(&self, key: &str, body: &Value) -> Result<Response> {
        self.send("POST", "/payments", &format!("Idempotency-Key: {key}\r\n"), &body.to_string())
    }

    /// Pays until that is answered with something that counts: however often it is sent, it is one payment.
    pub(super) fn pay_until_answered(&self, key: &str, body: &Value) -> Result<Response> {
        until(&format!("an answer to payment {key}"), || {
            let response = self.pay(key, body)?;
            // What a host says while the bank starts is no JSON.
            let is_answer = response.status < 500 && response.body.starts_with('{');
            if is_answer { Ok(response) } else { bail!("{response:?}") }
        })
    }

    /// Sends a request that must be answered with this status; the answer.
    pub(super) fn expect(&self, status: u16, method: &'static str, path: &str, body: &Value) -> Result<Value> {
        let response = self.send(method, path, "", &body.to_string())?;
        parse(status, &response).with_context(|| format!("{method} {path}"))
    }

    fn send(&self, method: &'static str, path: &str, headers: &str, body: &str) -> Result<Response> {
        let token = self.token.iter().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let headers: String = token.chain([headers.to_owned()]).collect();
        http::send(self.address, None, Request { method, path, headers: &headers, body })
    }
}

fn parse(status: u16, response: &Response) -> Result<Value> {
    anyhow::ensure!(response.status == status, "{} {}", response.status, response.body.trim_end());
    serde_json::from_str(&response.body).context("the answer is no JSON")
}

/// Tries until it works, or for as long as it may take; then the last error.
pub(super) fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > PATIENCE => return Err(error.context(format!("waiting for {what}"))),
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}
