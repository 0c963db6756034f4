//! Accepts connections, each on a thread of its own, and closes when asked: what is being answered is answered first.

use super::connection::{Service, serve};
use crate::refusal::Refusal;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A connection's thread reads and writes; nothing on it goes deep.
const STACK: usize = 1 << 20;

/// A socket that connections come to.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    most: usize,
    open: Mutex<HashMap<usize, TcpStream>>,
    closing: AtomicBool,
}

impl Listener {
    /// At `address`, `most` connections at a time.
    pub fn bind(address: impl ToSocketAddrs, most: usize) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, most, open: Mutex::default(), closing: AtomicBool::new(false) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves until [`Listener::close`]; comes back when the last connection has ended.
    pub fn run(&self, service: &impl Service) {
        thread::scope(|scope| {
            for (number, stream) in self.socket.incoming().enumerate() {
                if self.closing.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else {
                    // No file is left for it, or it has gone already; others will go.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let Ok(own) = stream.try_clone() else { continue };
                if self.open().len() >= self.most {
                    let full = Refusal::new(503, "too_many_connections", "too many connections are open").after(1);
                    let patient = stream.set_write_timeout(Some(Duration::from_millis(100)));
                    let _ = patient.and_then(|()| service.refuse(&full).write(&mut &stream, false, false)); // it may go unread
                    continue;
                }
                self.open().insert(number, own);
                if self.closing.load(Ordering::SeqCst) {
                    let _ = stream.shutdown(Shutdown::Read); // it came while the others were told
                }
                let work = move || {
                    let _end = End { listener: self, number };
                    serve(&stream, service, &self.closing);
                };
                if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).is_err() {
                    self.open().remove(&number); // no thread is left for it
                }
            }
        });
    }

    /// Takes no more requests, on new connections or on those that are open.
    pub fn close(&self) {
        if self.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        for stream in self.open().values() {
            let _ = stream.shutdown(Shutdown::Read); // one that has ended already is what is wanted
        }
        // The one that waits for the next connection gets one.
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let _ = TcpStream::connect_timeout(&(ip, self.address.port()).into(), Duration::from_secs(1));
    }
}

impl Listener {
    /// Ends the connections that are still open, whatever is being written on them.
    pub fn cut(&self) {
        for stream in self.open().values() {
            let _ = stream.shutdown(Shutdown::Both); // one that has ended already is what is wanted
        }
    }
}

/// Forgets a connection at its end, also where its thread panics.
struct End<'a> {
    listener: &'a Listener,
    number: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.listener.open().remove(&self.number);
    }
}
