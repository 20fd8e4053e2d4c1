//! A crowd of connections that are slow on purpose, against the limits that a server has when nothing is said: all of
//! them go, and nobody else notices. `TRELLIS_SLOW_CONNECTIONS=5000` for more of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::slow::serving;
use crate::support::{PATIENCE, Server, get, speak};

/// How long the last of them may be there. They go after half of that, and a machine may be busy.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// Of good requests: 200 in a second.
const PERIOD: Duration = Duration::from_millis(5);
/// For how long they are measured without the crowd.
const ALONE: Duration = Duration::from_secs(3);
/// How many connections come from one address; the server takes no more than 1,000.
const PER_ADDRESS: usize = 500;

/// What a slow client does.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Head,
    Body,
    Reader,
}

/// Each connection has a descriptor at either end.
fn allow_descriptors(count: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(2 * count + 1_000).unwrap();
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).expect("the machine allows as many");
    }
}

/// A connection from one of many addresses that holds little of what is sent to it.
async fn connect(server: SocketAddr, nth: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let last = u8::try_from(2 + nth / PER_ADDRESS).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    timeout(PATIENCE, socket.connect(server)).await.expect("it is accepted").unwrap()
}

/// Is slow until the server has had enough.
async fn dawdle(mut stream: TcpStream, slow: Slow, offset: Duration) {
    let head = match slow {
        Slow::Head => "GET / HTTP/1.1\r\nHost: a\r\nX: ",
        Slow::Body => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        Slow::Reader => "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    // Not all in the same moment: their work would be what is measured.
    sleep(offset).await;
    loop {
        sleep(Duration::from_secs(1)).await;
        let goes_on = match slow {
            Slow::Head | Slow::Body => stream.write_all(b"x").await.is_ok(),
            Slow::Reader => matches!(stream.read(&mut [0; 1]).await, Ok(1)),
        };
        // What was sent before the end is still read, but a write tells of it.
        if !goes_on || (matches!(slow, Slow::Reader) && stream.write_all(b"\r\n").await.is_err()) {
            return;
        }
    }
}

/// Asks as often as [`PERIOD`] says until it is dropped; `took` has how long each answer took, from when it was due.
async fn ask_steadily(server: &Server, took: &mut Vec<Duration>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sender = speak(server.connect().await).await;
    loop {
        let due = ticks.tick().await;
        sender.ready().await.expect("it is open");
        let response = timeout(PATIENCE, sender.send_request(get("/"))).await.expect("an answer").expect("no error");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.expect("a body");
        took.push(due.elapsed());
        // Now and then with a connection of its own.
        if took.len().is_multiple_of(20) {
            sender = speak(server.connect().await).await;
        }
    }
}

/// What 99 of 100 did not take longer than.
fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_connections_is_gone_in_time_and_others_are_served() {
    let count: usize =
        std::env::var("TRELLIS_SLOW_CONNECTIONS").map_or(1_000, |count| count.parse().expect("a number"));
    allow_descriptors(count);
    let server = Server::linked(serving(), &[]).await;
    let mut alone = Vec::new();
    timeout(ALONE, ask_steadily(&server, &mut alone)).await.expect_err("it goes on");
    let mut crowd = JoinSet::new();
    for nth in 0..count {
        let slow = [Slow::Head, Slow::Body, Slow::Reader][nth % 3];
        let stream = connect(server.address(), nth).await;
        crowd.spawn(async move {
            let begun = Instant::now();
            dawdle(stream, slow, Duration::from_millis(u64::try_from(nth % 1_000).unwrap())).await;
            (slow, begun.elapsed())
        });
    }
    let mut beside = Vec::new();
    let gone = async {
        let mut last = [Duration::ZERO; 3];
        while let Some(one) = crowd.join_next().await {
            let (slow, lived) = one.expect("no task panicked");
            assert!(lived < GONE_WITHIN, "{slow:?} was there for {lived:?}");
            last[slow as usize] = last[slow as usize].max(lived);
        }
        last
    };
    let last = tokio::select! {
        () = ask_steadily(&server, &mut beside) => unreachable!("it goes on"),
        last = timeout(2 * GONE_WITHIN, gone) => last.expect("all are gone"),
    };
    let answered = beside.len();
    assert!(answered > 100, "{answered} were answered meanwhile");
    eprintln!(
        "{count} slow connections, the last of heads, bodies and readers there for {last:?}; {answered} others answered meanwhile, 99 of 100 within \
         {:?}, and without the crowd within {:?}",
        p99(beside),
        p99(alone)
    );
}
