//! Many clients at once, on the one thread that calls: each with a connection of its own, each sending its
//! next request when the last is answered.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::Result;
use crate::http::Connection;

/// How often `turn` was done per second, by so many clients for so long. `turn` gets the client's number and
/// how many turns that client had before. The first turn of each client is not counted: it opens caches and
/// connections.
///
/// # Errors
/// The first error of a turn.
pub async fn for_duration(
    address: SocketAddr,
    clients: usize,
    duration: Duration,
    turn: impl AsyncFn(&mut Connection, usize, u64) -> Result<()>,
) -> Result<f64> {
    let mut connections = Vec::with_capacity(clients);
    for client in 0..clients {
        let mut connection = Connection::open(address).await?;
        turn(&mut connection, client, 0).await?;
        connections.push(connection);
    }
    let start = Instant::now();
    let done = Cell::new(0_u64);
    connections
        .into_iter()
        .enumerate()
        .map(async |(client, mut connection)| {
            let mut turns = 1;
            while start.elapsed() < duration {
                turn(&mut connection, client, turns).await?;
                turns += 1;
                done.set(done.get() + 1);
            }
            Ok(())
        })
        .collect::<FuturesUnordered<_>>()
        .try_collect::<()>()
        .await?;
    Ok(done.get() as f64 / start.elapsed().as_secs_f64())
}

/// How many of `count` turns were done per second, by so many clients. `turn` gets the turn's number, each
/// number once.
///
/// # Errors
/// The first error of a turn.
pub async fn for_count(
    address: SocketAddr,
    clients: usize,
    count: usize,
    turn: impl AsyncFn(&mut Connection, usize) -> Result<()>,
) -> Result<f64> {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        connections.push(Connection::open(address).await?);
    }
    let start = Instant::now();
    let next = Cell::new(0);
    connections
        .into_iter()
        .map(async |mut connection| {
            loop {
                let number = next.get();
                if number == count {
                    return Ok(());
                }
                next.set(number + 1);
                turn(&mut connection, number).await?;
            }
        })
        .collect::<FuturesUnordered<_>>()
        .try_collect::<()>()
        .await?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
