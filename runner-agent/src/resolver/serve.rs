//! The sockets that the job's questions come to: datagrams in batches, connections with several questions each.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use super::Network;
use super::service::{Back, Shared, take_in};
use super::sockets::Sockets;
use super::upstream::write_framed;

/// Datagrams that are answered before others have their turn.
const BATCH: usize = 64;

/// Longest question. Names have 255 bytes; what else a client adds stays far below this.
const MAX_QUESTION: usize = 4096;

/// Pause after a connection could not be taken: for want of descriptors, mostly, and asking again at once won't help.
const PAUSE: Duration = Duration::from_millis(50);

/// Where it answers from now on, or no longer.
#[derive(Debug)]
pub enum Change {
    /// In this network namespace too, on these sockets.
    Join(Network, Sockets),
    /// No longer there: an open socket keeps a namespace that nobody else is in.
    Leave(Network),
}

/// Answers on these sockets, and on those that are named later, until told to stop, or until one of the first is lost.
pub async fn serve(
    own: (Network, Sockets),
    mut changes: mpsc::UnboundedReceiver<Change>,
    service: Shared,
    stop: oneshot::Receiver<()>,
) {
    let work = async {
        let slots = Arc::new(Semaphore::new(service.borrow().limits().tcp_connections));
        let answer = |network, sockets: Sockets| {
            let mut tasks = JoinSet::new();
            match sockets.listening() {
                Ok((udp, tcp)) => {
                    for socket in udp {
                        tasks.spawn_local(datagrams(Rc::new(socket), network, service.clone()));
                    }
                    for listener in tcp {
                        tasks.spawn_local(connections(listener, network, service.clone(), slots.clone()));
                    }
                }
                Err(error) => tracing::error!("the resolver can't listen: {error}"),
            }
            tasks
        };
        let mut first = answer(own.0, own.1);
        let mut others = HashMap::new();
        let mut stop = stop;
        loop {
            tokio::select! {
                _ = &mut stop => return,
                _ = first.join_next() => {
                    tracing::error!("a socket of the resolver is lost");
                    return;
                }
                Some(change) = changes.recv() => match change {
                    Change::Join(network, sockets) => drop(others.insert(network, answer(network, sockets))),
                    Change::Leave(network) => drop(others.remove(&network)),
                }
            }
        }
    };
    LocalSet::new().run_until(work).await;
}

async fn datagrams(socket: Rc<UdpSocket>, network: Network, service: Shared) {
    let mut buffer = vec![0; MAX_QUESTION];
    while socket.readable().await.is_ok() {
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => {
                    take_in(&service, &buffer[..length], &Back::Udp(socket.clone(), from, network));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A client that is gone already; the next datagram is another's.
                Err(_) => {}
            }
        }
        yield_now().await;
    }
}

async fn connections(listener: TcpListener, network: Network, service: Shared, slots: Arc<Semaphore>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // One connection too many is closed at once: the job holds all the others itself.
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            let service = service.clone();
            spawn_local(async move {
                let _slot = slot;
                if let Err(error) = connection(stream, (from, network), service).await {
                    tracing::debug!(%from, %error, "a connection to the resolver ended");
                }
            });
        }
    }
}

async fn connection(stream: TcpStream, (from, network): (SocketAddr, Network), service: Shared) -> io::Result<()> {
    let (idle, pipeline) = {
        let service = service.borrow();
        (service.limits().tcp_idle, service.limits().tcp_pipeline.max(1))
    };
    let _ = stream.set_nodelay(true);
    let (writer, mut answers) = mpsc::channel(pipeline);
    let back = Back::Tcp(writer, from, network);
    let mut buffer: Vec<u8> = Vec::new();
    let mut owed = 0;
    let mut is_open = true;
    while is_open || owed > 0 {
        while owed < pipeline
            && let Some(question) = next_question(&mut buffer)?
        {
            owed += usize::from(take_in(&service, &question, &back));
        }
        // Nothing more is read while answers are owed up to the bound: then the client's own buffers fill.
        tokio::select! {
            answer = answers.recv(), if owed > 0 => {
                let Some(answer) = answer else { break };
                owed -= 1;
                timeout(idle, write_framed(&stream, &answer)).await??;
            }
            ready = stream.readable(), if is_open && owed < pipeline => {
                ready?;
                is_open = read_some(&stream, &mut buffer)?;
            }
            () = sleep(idle) => break,
        }
    }
    Ok(())
}

/// Reads what there is; says whether the client may send more.
fn read_some(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; MAX_QUESTION];
    match stream.try_read(&mut chunk) {
        Ok(0) => Ok(false),
        Ok(length) => {
            buffer.extend_from_slice(&chunk[..length]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// Takes a whole question out of what was read: two bytes of length, then the message (RFC 1035, 4.2.2).
fn next_question(buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some(&length) = buffer.first_chunk::<2>() else { return Ok(None) };
    let end = 2 + usize::from(u16::from_be_bytes(length));
    if end > 2 + MAX_QUESTION {
        return Err(io::Error::other(format!("a question has at most {MAX_QUESTION} bytes")));
    }
    if buffer.len() < end {
        return Ok(None);
    }
    let question = buffer[2..end].to_vec();
    buffer.drain(..end);
    Ok(Some(question))
}
