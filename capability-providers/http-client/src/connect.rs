//! Connections: a name is resolved, all its addresses are checked, and one of those that were checked is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::{CallError, CallErrorKind};

use crate::address::{self, Grant};
use crate::failure::{connecting, failure};
use crate::resolve::Resolver;
use crate::target::{Host, Target};

/// Makes the connections of one link, with TLS where the scheme says so, within the time that it has.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<Checked>,
    timeout: Duration,
}

impl Connector {
    /// Connects to what `grants` allow.
    pub(crate) fn new(tls: rustls::ClientConfig, resolver: Resolver, grants: Arc<[Grant]>, timeout: Duration) -> Self {
        let checked = Checked { resolver, grants, timeout };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
        Self { inner: builder.wrap_connector(checked), timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Self::Response, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.timeout, self.inner.call(uri.clone()));
        Box::pin(async move {
            let target = Target::of(&uri)?;
            match connected.await {
                Ok(connected) => connected.map_err(|error| connecting(&*error, &target)),
                Err(_) => Err(in_vain(&target)),
            }
        })
    }
}

/// Makes TCP connections.
#[derive(Clone)]
struct Checked {
    resolver: Resolver,
    grants: Arc<[Grant]>,
    timeout: Duration,
}

impl Service<Uri> for Checked {
    type Response = TokioIo<TcpStream>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Self::Response, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let checked = self.clone();
        Box::pin(async move {
            let target = Target::of(&uri)?;
            let deadline = Instant::now() + checked.timeout;
            let addresses = match timeout_at(deadline, checked.addresses(&target)).await {
                Ok(addresses) => addresses?,
                Err(_) => return Err(resolving(ErrorCode::DnsTimeout, &target, &"no answer in time")),
            };
            connect(&addresses, &target, deadline).await
        })
    }
}

impl Checked {
    /// All addresses of a target, if it may have all of them: one that may not be reached means that whoever answers for
    /// the name answers with what is not theirs.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, CallError> {
        let addresses = match &target.host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => {
                let found = (self.resolver)(name.clone()).await;
                found.map_err(|error| resolving(ErrorCode::DnsError, target, &error))?
            }
        };
        if addresses.is_empty() {
            return Err(resolving(ErrorCode::DnsError, target, &"it has no address"));
        }
        match addresses.iter().find(|address| !address::may_reach(&self.grants, **address)) {
            None => Ok(addresses),
            Some(address) => Err(failure(
                CallErrorKind::Denied,
                ErrorCode::DestinationIpProhibited,
                format_args!(
                    "{target} is at {address}, which is not an address of the internet: `grant_private` of the link may \
                     grant it"
                ),
            )),
        }
    }
}

/// Connects to the first that accepts. Each has its share of the time that is left.
async fn connect(addresses: &[IpAddr], target: &Target, deadline: Instant) -> Result<TokioIo<TcpStream>, CallError> {
    let mut last = in_vain(target);
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(SocketAddr::new(*address, target.port))).await {
            Ok(Ok(stream)) => {
                _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(error)) => last = connecting(&error, target),
            Err(_) => last = connecting(&io::Error::from(io::ErrorKind::TimedOut), target),
        }
    }
    Err(last)
}

fn resolving(code: ErrorCode, target: &Target, why: &dyn std::fmt::Display) -> CallError {
    failure(CallErrorKind::NoTarget, code, format_args!("{} was not resolved: {why}", target.host))
}

fn in_vain(target: &Target) -> CallError {
    let text = format_args!("no connection to {target} in time");
    failure(CallErrorKind::NoTarget, ErrorCode::ConnectionTimeout, text)
}
