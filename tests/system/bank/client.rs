//! Somebody who asks the bank, and asks again while it has no answer.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::stage::PASSWORD;
use crate::support::{http as http_client, wait};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// When to come again, if that is said.
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// Why a request has no answer that counts.
pub(crate) enum Miss {
    /// 503, and when to come again.
    Refused,
    /// A call broke off, or 503 does not say when to come again.
    Broken(Answer),
    /// Nobody is there, or not yet.
    Away(String),
}

impl Answer {
    /// What it says, in JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Itself, if it is the bank's word on the question: what a host says while the bank starts or is away is no JSON.
    fn that_counts(self) -> Result<Self, Miss> {
        match self.status {
            503 if self.retry_after.is_some() => Err(Miss::Refused),
            500.. => Err(Miss::Broken(self)),
            _ if serde_json::from_str::<Value>(&self.body).is_err() => Err(Miss::Away(format!("{self:?}"))),
            _ => Ok(self),
        }
    }
}

impl Miss {
    fn shown(&self) -> String {
        match self {
            Self::Refused => "503, to come again".to_owned(),
            Self::Broken(answer) => format!("{answer:?}"),
            Self::Away(reason) => reason.clone(),
        }
    }
}

/// One who has logged in.
pub(crate) struct Client {
    runtime: Handle,
    /// Where the bank answers; each failure leads to the next one.
    fronts: Vec<SocketAddr>,
    token: String,
}

impl Client {
    /// Logs in, as soon as that is possible.
    pub(crate) fn login(runtime: &Handle, fronts: &[SocketAddr], user: &str) -> Self {
        let mut client = Self { runtime: runtime.clone(), fronts: fronts.to_vec(), token: String::new() };
        let credentials = json!({ "user": user, "password": PASSWORD });
        let answer = client.until_ok("POST", "/login", &credentials);
        client.token = answer.json()["token"].as_str().expect("a login is answered with a token").to_owned();
        client
    }

    /// What is answered at `path` once the answer is 200.
    pub(crate) fn until_ok(&self, method: &str, path: &str, body: &Value) -> Answer {
        let mut asked = 0;
        wait::until(&format!("200 from {method} {path}"), || {
            asked += 1;
            match self.ask(asked, (method, path), None, body) {
                Ok(answer) if answer.status == 200 => Ok(answer),
                other => Err(format!("{other:?}")),
            }
        })
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.until_ok("GET", path, &Value::Null)
    }

    /// Pays under a key, again and again until there is an answer that counts.
    pub(crate) fn pay(&self, key: &str, order: &Value) -> Answer {
        self.pay_and_note(key, order, &mut |_| ())
    }

    /// The same; each time that there is none, `miss` is told why.
    pub(crate) fn pay_and_note(&self, key: &str, order: &Value, miss: &mut dyn FnMut(Miss)) -> Answer {
        // Not all begin at the same front.
        let mut asked = key.len() + usize::from(*key.as_bytes().last().unwrap_or(&0));
        wait::until(&format!("an answer to payment {key}"), || {
            let answer = self.ask(asked, ("POST", "/payments"), Some(key), order).map_err(Miss::Away);
            answer.and_then(Answer::that_counts).map_err(|why| {
                asked += 1;
                let shown = why.shown();
                miss(why);
                shown
            })
        })
    }

    /// Pays once, whatever comes of it.
    pub(crate) fn pay_once(&self, key: &str, order: &Value) -> Answer {
        self.ask(0, ("POST", "/payments"), Some(key), order).expect("an answer")
    }

    /// What is at `path` now.
    pub(crate) fn look(&self, path: &str) -> Answer {
        self.ask(0, ("GET", path), None, &Value::Null).expect("an answer")
    }

    fn ask(
        &self,
        front: usize,
        (method, path): (&str, &str),
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, String> {
        let address = self.fronts[front % self.fronts.len()];
        let mut request = Request::builder().method(method).uri(path).header("host", address.to_string());
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = request.body(Full::new(body)).expect("the parts are valid");
        self.runtime.block_on(async {
            let response = http_client::send(address, request).await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get("retry-after");
            let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
        })
    }
}
