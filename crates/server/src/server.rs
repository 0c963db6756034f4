//! What all connections and the one who draws share.

use crate::{
    a1111::{self, Desk},
    ask::{Ask, Doing},
    fields::Fields,
    guard::Guard,
    http::{Client, Permit, Reply, Request, Service},
    job::{Job, State},
    metrics::Metrics,
    native,
    options::Options,
    page::Page,
    queue::{Queue, Turned},
    refusal::Refusal,
    routes::{self, Route},
    shelf::Shelf,
    state::Disk,
    store::Store,
};
use rectiflow::Error;
use std::sync::{Arc, atomic::AtomicUsize};

/// The page to draw with.
const PAGE: &str = include_str!("page.html");

/// Models, what waits for them, and who may ask.
pub struct Server {
    pub options: Options,
    pub shelf: Shelf,
    pub queue: Queue,
    pub store: Store,
    /// Where jobs lie, if they shall outlive this.
    pub disk: Option<Arc<Disk>>,
    pub metrics: Metrics,
    pub guard: Guard,
    pub page: Page,
    pub desk: Desk,
    /// Bytes of bodies that are held.
    sent: Arc<AtomicUsize>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Server {
    pub fn new(options: Options, shelf: Shelf, disk: Option<Arc<Disk>>, tell: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        let (queue, store) = (Queue::new(options.limits.queue), Store::new(&options.limits));
        let guard = Guard::new(options.key.as_deref(), &options.hosts);
        Self {
            options,
            shelf,
            queue,
            store,
            disk,
            metrics: Metrics::default(),
            guard,
            page: Page::new(PAGE),
            desk: Desk::default(),
            sent: Arc::default(),
            tell,
        }
    }

    /// Reads what a request wants drawn; `own` takes the keys that are its interface's alone.
    pub fn ask<T>(
        &self,
        request: &Request,
        doing: Doing,
        own: impl FnOnce(&mut Fields) -> Result<T, Refusal>,
    ) -> Result<(Ask, T), Refusal> {
        self.room(doing)?;
        let mut fields = Fields::of(request)?;
        let own = own(&mut fields)?;
        let ask = Ask::read(&mut fields, &self.shelf, &self.options.limits, doing)?;
        fields.done()?;
        let permit = self.permit(&ask, request)?;
        Ok((ask.holding(permit), own))
    }

    /// Leave to hold what was sent: its body's, or that of the decoded picture where it is held, a thousand times the body at worst.
    pub fn permit(&self, ask: &Ask, request: &Request) -> Result<Option<Arc<Permit>>, Refusal> {
        match ask.decoded() {
            0 => Ok(request.permit.clone()),
            bytes => Ok(Some(Arc::new(self.hold(bytes)?))),
        }
    }

    /// Refuses what takes files while nothing can wait anyway: reading them is work too.
    pub fn room(&self, doing: Doing) -> Result<(), Refusal> {
        let waiting = self.queue.len();
        match doing != Doing::Sample && waiting >= self.options.limits.queue {
            true => Err(self.full(waiting)),
            false => Ok(()),
        }
    }

    fn full(&self, waiting: usize) -> Refusal {
        let message = format!("{waiting} of at most {} pictures wait already", self.options.limits.queue);
        Refusal::new(429, "queue_full", message).after(self.metrics.until(waiting))
    }

    /// Lets a job wait, and keeps it to be asked about if it is `kept`.
    pub fn submit(&self, ask: Ask, kept: bool) -> Result<Arc<Job>, Refusal> {
        let job = Job::new(ask);
        // Known before it can end.
        if kept {
            self.store.keep(&job);
        }
        let disk = self.disk.as_ref().filter(|_| kept);
        if let Some(disk) = disk
            && let Err(error) = job.lies(disk, native::facts(self, &job))
        {
            self.store.forget(&job);
            disk.remove(&job.id);
            self.say(&format!("a job could not be written into the folder of --state: {error}"));
            return Err(Refusal::new(503, "not_kept", "the server cannot keep jobs now; its log says why").after(10));
        }
        self.queue.push(&job).map_err(|turned| {
            self.store.forget(&job);
            if let Some(disk) = disk {
                disk.remove(&job.id);
            }
            match turned {
                Turned::Closed => closing(),
                Turned::Full(waiting) => self.full(waiting),
            }
        })?;
        Ok(job)
    }

    /// Nobody wants `job` any more: what of it waits is not drawn.
    pub fn cancel(&self, job: &Arc<Job>) {
        if !job.is_over() {
            self.queue.remove(job);
            job.end(State::Cancelled);
            self.metrics.lost(true);
        }
    }

    /// Takes no more jobs; those of which nothing is drawn end here.
    pub fn close(&self) {
        self.turn_away(self.queue.close());
    }

    /// Takes no more jobs, and nobody draws those that there are.
    pub fn abandon(&self) {
        self.turn_away(self.queue.abandon());
    }

    fn turn_away(&self, jobs: Vec<Arc<Job>>) {
        for job in jobs {
            job.end(State::Failed(closing()));
            self.metrics.lost(false);
        }
    }

    /// Tells whoever started the server.
    pub fn say(&self, line: &str) {
        (self.tell)(line);
    }

    /// What clients hear of an error of drawing. What names files or is nobody's business is for the log.
    pub fn failure(&self, model: usize, error: &Error) -> Refusal {
        let served = self.shelf.at(model);
        self.say(&format!("{}: {error}", served.name));
        match error {
            Error::Flow(error) => Refusal::new(500, "not_drawn", served.discreet(&error.to_string())),
            _ => Refusal::new(500, "not_drawn", "this could not be drawn; the server's log says why"),
        }
    }
}

fn closing() -> Refusal {
    Refusal::new(503, "closing", "the server is closing").after(10)
}

impl Service for Server {
    fn answer(&self, request: &Request, client: &Client<'_>) -> Reply {
        let route = Route::of(request);
        let allowed = self.guard.place(request).and_then(|()| match route.is_open() {
            true => Ok(()),
            false => self.guard.key(request),
        });
        let reply = allowed.and_then(|()| routes::answer(self, &route, request, client));
        let reply = reply.unwrap_or_else(|refusal| match route.is_theirs() {
            true => a1111::refused(&refusal),
            false => refusal.reply(),
        });
        self.metrics.answered(route.name(), reply.status);
        guarded(reply)
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        self.metrics.answered("none", refusal.status);
        guarded(refusal.reply())
    }

    fn most(&self, head: &Request) -> usize {
        let limits = &self.options.limits;
        // Files are for those who may ask.
        let may = || self.guard.place(head).and_then(|()| self.guard.key(head)).is_ok();
        if Route::of(head).takes_files() && may() { limits.upload } else { limits.body }
    }

    fn hold(&self, bytes: usize) -> Result<Permit, Refusal> {
        let full = || Refusal::new(503, "too_many_uploads", "too much is being sent at a time").after(1);
        Permit::new(&self.sent, bytes, self.options.limits.uploads).ok_or_else(full)
    }

    fn goes_on(&self) -> bool {
        self.queue.is_open()
    }
}

/// What every answer says to browsers: no other site may use it, nothing is guessed about it, and nothing kept that does not say so.
pub fn guarded(reply: Reply) -> Reply {
    let kept = reply.headers.iter().any(|(name, _)| *name == "Cache-Control");
    let reply = reply.with("X-Content-Type-Options", "nosniff").with("Cross-Origin-Resource-Policy", "same-origin");
    if kept { reply } else { reply.with("Cache-Control", "no-store") }
}
