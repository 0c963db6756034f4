//! How ranks find each other: rank 0 listens at a place that all were told, the others come and say who they are.

use crate::{Lost, Tcp, wire::Wire};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

/// What who comes says first; another program, or another version of this one, says something else.
const HELLO: [u8; 16] = *b"rectiflow-rank/1";
/// So often it is looked who is there.
const LOOK: Duration = Duration::from_millis(20);
/// Who has connected has so long to say who it is.
const SAY: Duration = Duration::from_secs(5);
/// Ranks at most: each is a connection of rank 0.
const MOST: usize = 4096;

/// Which rank of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

impl Place {
    /// `i/n`, `i` from 0.
    ///
    /// # Errors
    /// Anything else, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let (rank, size) = text.split_once('/')?;
            Some(Self { rank: rank.trim().parse().ok()?, size: size.trim().parse().ok()? })
        };
        let refused = || format!("`{text}` is no rank; give I/N, such as 0/4, with I from 0 to N - 1");
        parse().filter(|place| place.rank < place.size && place.size <= MOST).ok_or_else(refused)
    }

    /// What `mpirun`, `mpiexec` and `srun` say in the variables that `read` gives; `None` where none of them started this.
    ///
    /// # Errors
    /// Variables that make no sense, in words.
    pub fn of_launcher(read: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        const LAUNCHERS: [[&str; 2]; 3] = [
            ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"], // Open MPI
            ["PMI_RANK", "PMI_SIZE"],                         // MPICH and its kin
            ["SLURM_PROCID", "SLURM_NTASKS"],
        ];
        for [rank, size] in LAUNCHERS {
            if let (Some(i), Some(n)) = (read(rank), read(size)) {
                return Self::parse(&format!("{i}/{n}")).map(Some).map_err(|why| format!("{rank}, {size}: {why}"));
            }
        }
        Ok(None)
    }
}

/// Where and how long ranks wait for each other.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// This one.
    pub place: Place,
    /// `HOST:PORT` of rank 0, as the others reach it; rank 0 listens there.
    pub at: String,
    /// How long to wait for all.
    pub patience: Duration,
    /// How long nothing may come from a rank while others wait for it. Rank 0 draws sheets and writes checkpoints meanwhile.
    pub silence: Duration,
}

impl Meeting {
    /// With the usual patience.
    pub fn new(place: Place, at: impl Into<String>) -> Self {
        let (patience, silence) = (Duration::from_secs(300), Duration::from_secs(1800));
        Self { place, at: at.into(), patience, silence }
    }

    /// Waits until all have come; `stopped` says whether to wait no longer.
    ///
    /// # Errors
    /// A place that cannot be listened at or reached, ranks that do not come, ranks that do not belong together.
    pub fn hold(&self, stopped: impl Fn() -> bool) -> Result<Tcp, Lost> {
        let Place { rank, size } = self.place;
        let until = Instant::now() + self.patience;
        let wires = if rank == 0 { self.receive(until, &stopped)? } else { vec![self.come(until, &stopped)?] };
        Ok(Tcp::new(rank, size, wires))
    }

    fn said(&self, what: impl std::fmt::Display) -> Lost {
        Lost::Meeting(format!("--meet {}: {what}", self.at))
    }

    /// Waits a little; `missing` says what for.
    fn wait(&self, until: Instant, stopped: &impl Fn() -> bool, missing: impl Fn() -> String) -> Result<(), Lost> {
        if stopped() {
            return Err(self.said("stopped while ranks were waited for"));
        }
        if Instant::now() > until {
            return Err(self.said(format!("{}, {:.0} s long", missing(), self.patience.as_secs_f64())));
        }
        thread::sleep(LOOK);
        Ok(())
    }

    /// Rank 0: one wire for each of the others, in their order.
    fn receive(&self, until: Instant, stopped: &impl Fn() -> bool) -> Result<Vec<Wire>, Lost> {
        let size = self.place.size;
        let failed =
            |error| self.said(format!("{error}; rank 0 must be started where this address is, and the port free"));
        let listener = TcpListener::bind(&self.at).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let mut wires: Vec<Option<Wire>> = (1..size).map(|_| None).collect();
        while wires.iter().any(Option::is_none) {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Whoever else knocks at this port is sent away.
                    let Ok((stream, place)) = self.listen(stream) else { continue };
                    if place.size != size || place.rank == 0 || wires[place.rank - 1].is_some() {
                        let what = "that do not belong to these; is another run meeting here?";
                        return Err(self.said(format!(
                            "rank {}/{} came to ranks {what} These are {size}, each once",
                            place.rank, place.size
                        )));
                    }
                    wires[place.rank - 1] = Some(Wire::new(stream, 0, place.rank));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(until, stopped, || {
                    let missing = |(i, wire): (usize, &Option<Wire>)| wire.is_none().then(|| (i + 1).to_string());
                    let missing: Vec<String> = wires.iter().enumerate().filter_map(missing).collect();
                    format!("of {size} ranks these have not come: {}", missing.join(", "))
                })?,
                Err(error) => return Err(failed(error)),
            }
        }
        let wires: Vec<Wire> = wires.into_iter().flatten().collect();
        Ok(wires)
    }

    /// Hears who has come.
    fn listen(&self, mut stream: TcpStream) -> std::io::Result<(TcpStream, Place)> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(SAY))?;
        let mut said = [0u8; 32];
        stream.read_exact(&mut said)?;
        let number =
            |at: usize| said[at..at + 8].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) as usize;
        let place = Place { rank: number(16), size: number(24) };
        if said[..16] != HELLO || place.size > MOST || place.rank >= place.size {
            return Err(ErrorKind::InvalidData.into());
        }
        stream.write_all(&HELLO)?;
        self.settle(&stream)?;
        Ok((stream, place))
    }

    fn settle(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.silence))?;
        stream.set_write_timeout(Some(self.silence))
    }

    /// The others: the wire to rank 0.
    fn come(&self, until: Instant, stopped: &impl Fn() -> bool) -> Result<Wire, Lost> {
        let Place { rank, size } = self.place;
        loop {
            let reached = || -> std::io::Result<TcpStream> {
                let mut last = ErrorKind::AddrNotAvailable.into();
                for address in self.at.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, SAY) {
                        Ok(stream) => return Ok(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            };
            let greeted = reached().and_then(|mut stream| {
                stream.set_read_timeout(Some(SAY))?;
                let mut hello = HELLO.to_vec();
                hello.extend((rank as u64).to_le_bytes());
                hello.extend((size as u64).to_le_bytes());
                stream.write_all(&hello)?;
                let mut answer = [0u8; 16];
                stream.read_exact(&mut answer)?;
                if answer != HELLO {
                    return Err(ErrorKind::InvalidData.into());
                }
                self.settle(&stream)?;
                Ok(stream)
            });
            let why = match greeted {
                Ok(stream) => return Ok(Wire::new(stream, rank, 0)),
                Err(error) => error,
            };
            self.wait(until, stopped, || format!("rank {rank} of {size} could not reach rank 0 ({why})"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ranks;
    use std::net::SocketAddr;

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// What each rank of `size` gives.
    fn all<T: Send>(size: usize, work: impl Fn(Tcp) -> T + Sync) -> Vec<T> {
        let at = free().to_string();
        let one = |rank| work(Meeting::new(Place { rank, size }, &at).hold(|| false).unwrap());
        thread::scope(|scope| {
            let ranks: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    /// Mutants: ranks added in the order they came (the bits differ from the sum in their order), a rank left out, the last piece of
    /// a long message forgotten, the sum not sent to all.
    #[test]
    fn sums_are_added_in_the_order_of_ranks() {
        let part = |rank: usize, i: usize| 0.1 * (rank as f32 + 1.0) + 1e4 * ((i * 7919 + rank * 13) % 17) as f32;
        let count = 40_001;
        let sums = all(4, |ranks| {
            thread::sleep(Duration::from_millis(5 * (4 - ranks.rank() as u64)));
            let mut values: Vec<f32> = (0..count).map(|i| part(ranks.rank(), i)).collect();
            ranks.sum(&mut values).unwrap();
            (values, ranks.moved())
        });
        let expected: Vec<f32> = (0..count).map(|i| (1..4).fold(part(0, i), |sum, rank| sum + part(rank, i))).collect();
        assert!(sums.iter().all(|(sum, _)| *sum == expected));
        let bytes = 9 + 4 * count as u64;
        assert_eq!((sums[0].1, sums[3].1), ([3 * bytes, 3 * bytes], [bytes, bytes]));
    }

    #[test]
    fn rank_zero_is_heard_by_all() {
        let heard = all(3, |ranks| {
            let mut word = format!("said by {}", ranks.rank()).into_bytes();
            ranks.share(&mut word).unwrap();
            word
        });
        assert_eq!(heard, vec![b"said by 0".to_vec(); 3]);
    }

    /// Mutants: a closed connection waited for; numbers of another length taken as far as they go.
    #[test]
    fn who_is_gone_or_astray_is_named() {
        let gone = all(3, |ranks| match ranks.rank() {
            2 => None,
            _ => Some(ranks.sum(&mut [1.0; 10]).unwrap_err().to_string()),
        });
        assert!(gone[0].as_ref().is_some_and(|why| why.contains("rank 2 is gone")), "{gone:?}");
        assert!(gone[1].as_ref().is_some_and(|why| why.contains("rank 0 is gone")), "{gone:?}");
        let astray = all(2, |ranks| ranks.sum(&mut vec![1.0; 3 + ranks.rank()]));
        assert!(astray[0].as_ref().unwrap_err().to_string().contains("4 numbers where 3 were due"), "{astray:?}");
    }

    /// Mutants: a stranger at the port takes a rank's place; a rank that never comes is waited for without end.
    #[test]
    fn strangers_are_sent_away_and_who_does_not_come_is_named() {
        let at = free();
        let meeting = |rank| Meeting::new(Place { rank, size: 2 }, at.to_string());
        let met = thread::scope(|scope| {
            let lead = scope.spawn(|| meeting(0).hold(|| false));
            let stranger = loop {
                match TcpStream::connect(at) {
                    Ok(mut stream) => {
                        // Another version, which would be rank 1.
                        stream.write_all(b"rectiflow-rank/0").unwrap();
                        [1u64, 2].iter().for_each(|word| stream.write_all(&word.to_le_bytes()).unwrap());
                        break stream;
                    }
                    Err(_) => thread::sleep(LOOK),
                }
            };
            let other = scope.spawn(|| meeting(1).hold(|| false));
            drop(stranger);
            (lead.join().unwrap().map(|r| r.size()), other.join().unwrap().map(|r| r.rank()))
        });
        assert_eq!(met, (Ok(2), Ok(1)));
        let short = Meeting {
            patience: Duration::from_millis(60),
            ..Meeting::new(Place { rank: 0, size: 3 }, free().to_string())
        };
        let why = short.hold(|| false).err().unwrap().to_string();
        assert!(why.contains("of 3 ranks these have not come: 1, 2"), "{why}");
        let lone = Meeting { place: Place { rank: 1, size: 3 }, at: free().to_string(), ..short.clone() };
        assert!(lone.hold(|| false).err().unwrap().to_string().contains("could not reach rank 0"));
        assert!(short.hold(|| true).err().unwrap().to_string().contains("stopped"));
    }

    #[test]
    fn ranks_are_read() {
        assert_eq!(Place::parse("3/4"), Ok(Place { rank: 3, size: 4 }));
        for wrong in ["4/4", "1", "a/b", "-1/2", "0/0", "1/99999"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        let slurm = |name: &str| match name {
            "SLURM_PROCID" => Some("2".to_string()),
            "SLURM_NTASKS" => Some("8".to_string()),
            _ => None,
        };
        assert_eq!(Place::of_launcher(slurm), Ok(Some(Place { rank: 2, size: 8 })));
        assert_eq!(Place::of_launcher(|_| None), Ok(None));
        let broken = |name: &str| Some(if name.starts_with("OMPI") { "x" } else { "1" }.to_string());
        assert!(Place::of_launcher(broken).unwrap_err().contains("OMPI_COMM_WORLD_RANK"));
    }
}
