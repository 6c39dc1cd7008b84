//! What the interface offers, by asking the host.
//!
//! An operation is a future that asks one thing after another: it leaves a request on the
//! [`Session`]'s desk and waits until the answer lies there. One operation works at a time, so a few
//! numbers for files are enough, and each operation gives back those that it took:
//!
//! | number | what |
//! |---|---|
//! | 0 | the shared directory, as long as the session lasts |
//! | 1 | what the operation's path leads to |
//! | 2 | a directory that is being read |
//! | 3 | one of its entries |
//!
//! A host that breaks the protocol ends the session: the next operation begins a new one, with which
//! the host forgets all numbers.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;

use libd3os::service::share::{
    Entry, Errno, FileKind, FileStatus, Listing, MOST_BYTES, ShareError,
};

use crate::device::{ANSWER_ROOM, Answer, Exchange, Payload, Span};
use crate::events::{Event, Journal};
use crate::path::{names, parent_and_name};
use crate::wire::{
    self, ANSWER_MOST, Fid, HEADER, Identity, Malformed, NO_TAG, READ_HEADER, REMOVE_DIRECTORY,
    Refusal, Request, WALK_MOST, WRITE_HEADER, open,
};

const ROOT: Fid = 0;
const NODE: Fid = 1;
const READER: Fid = 2;
const CHILD: Fid = 3;

/// Bytes of the longest message that is offered, and of the shortest that is accepted for it.
const OFFERED: u32 = (64 << 10) + WRITE_HEADER;
const LEAST: u32 = 4096;
/// Bytes of directory entries that are asked for at once.
const ENTRIES: u32 = 2048;

const _: () = assert!(ENTRIES as usize + READ_HEADER <= ANSWER_ROOM && ENTRIES < LEAST);
const _: () = assert!(MOST_BYTES as usize + READ_HEADER <= ANSWER_ROOM && MOST_BYTES < LEAST);

/// A session with the host.
#[derive(Debug)]
pub struct Session {
    outgoing: RefCell<Option<Exchange>>,
    incoming: RefCell<Option<Answer>>,
    /// Bytes of the longest message, once there is a session.
    longest: Cell<Option<u32>>,
    tag: Cell<u16>,
    journal: Journal,
}

impl Session {
    /// No session yet: the first operation begins it.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let (outgoing, incoming) = (RefCell::default(), RefCell::default());
        Self { outgoing, incoming, longest: Cell::new(None), tag: Cell::new(0), journal }
    }

    /// What the operation at work asks, once.
    #[must_use]
    pub fn take_exchange(&self) -> Option<Exchange> {
        self.outgoing.take()
    }

    /// The answer to that has come.
    pub fn answered(&self, answer: Answer) {
        self.incoming.replace(Some(answer));
    }

    /// Part of a directory.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn list(&self, directory: &str, from: u64) -> Result<Listing, ShareError> {
        let names = names(directory)?;
        self.at(&names, async |_| {
            let reader = async |_| {
                self.open(READER, open::READ).await?;
                self.listing(from).await
            };
            self.reach(NODE, READER, &[], reader).await
        })
        .await
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn stat(&self, path: &str) -> Result<FileStatus, ShareError> {
        self.at(&names(path)?, async |_| self.status(NODE).await).await
    }

    /// Bytes of a file, [`MOST_BYTES`] at most.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn read(&self, path: &str, offset: u64, bytes: u32) -> Result<Vec<u8>, ShareError> {
        if bytes > MOST_BYTES {
            return Err(ShareError::TooMany);
        }
        self.with_file(path, open::READ, async || {
            let request = Request::Read(NODE, offset, bytes);
            let (body, _) =
                self.ask(request, Payload::Within, READ_HEADER + bytes as usize).await?;
            let data = self.sound(wire::data(&body, bytes))?;
            self.journal.note(Event::Read(bytes_of(data.len())));
            Ok(data.to_vec())
        })
        .await
    }

    /// Writes bytes into a file, [`MOST_BYTES`] at most.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn write(&self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), ShareError> {
        if bytes.len() > MOST_BYTES as usize {
            return Err(ShareError::TooMany);
        }
        self.with_file(path, open::WRITE, async || {
            let mut rest = bytes;
            while !rest.is_empty() {
                let at = offset.saturating_add((bytes.len() - rest.len()) as u64);
                let request = Request::Write(NODE, at, bytes_of(rest.len()), rest);
                let taken = self.write_piece(request, Payload::Within, bytes_of(rest.len()));
                rest = rest.get(taken.await? as usize..).unwrap_or_default();
            }
            Ok(())
        })
        .await
    }

    /// Bytes of a file to where a program wants them; tells how many there were.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn read_into(&self, path: &str, offset: u64, to: Span) -> Result<u32, ShareError> {
        self.with_file(path, open::READ, async || {
            let mut done = 0;
            while let Some(piece) = self.piece(to, done) {
                let came = self.read_piece(offset.saturating_add(done.into()), piece).await?;
                done += came;
                if came == 0 {
                    break;
                }
            }
            Ok(done)
        })
        .await
    }

    /// Writes bytes of a program into a file.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn write_from(&self, path: &str, offset: u64, from: Span) -> Result<(), ShareError> {
        self.with_file(path, open::WRITE, async || {
            let mut done = 0;
            while let Some(piece) = self.piece(from, done) {
                let at = offset.saturating_add(done.into());
                let request = Request::Write(NODE, at, piece.bytes, &[]);
                done += self.write_piece(request, Payload::Sent(piece), piece.bytes).await?;
            }
            Ok(())
        })
        .await
    }

    /// Makes a file, or empties it.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn create(&self, path: &str) -> Result<(), ShareError> {
        let emptied = self.with_file(path, open::WRITE | open::TRUNCATE, async || Ok(())).await;
        if emptied != Err(ShareError::Host(Errno::ENOENT)) {
            return emptied;
        }
        let (parent, name) = parent_and_name(path)?;
        self.at(&parent, async |_| {
            let request = Request::Create(NODE, name, open::WRITE | open::EXCLUSIVE);
            let body = self.asked(request).await?;
            self.sound(wire::identity(&body, 4)).map(|_| ())
        })
        .await
    }

    /// Waits for the host's medium.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn sync(&self, path: &str) -> Result<(), ShareError> {
        self.with_file(path, open::WRITE, async || self.done(Request::Sync(NODE)).await).await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn make_directory(&self, path: &str) -> Result<(), ShareError> {
        let (parent, name) = parent_and_name(path)?;
        self.at(&parent, async |_| {
            let body = self.asked(Request::MakeDirectory(NODE, name)).await?;
            self.sound(wire::identity(&body, 0)).map(|_| ())
        })
        .await
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn remove(&self, path: &str) -> Result<(), ShareError> {
        let (parent, name) = parent_and_name(path)?;
        self.at(&parent, async |_| {
            let kind = async |found: Option<Identity>| Ok(found);
            let found = self.reach(NODE, CHILD, &[name], kind).await?;
            let how = if is_directory(found) { REMOVE_DIRECTORY } else { 0 };
            self.done(Request::Unlink(NODE, name, how)).await
        })
        .await
    }

    /// Works with an open file, which is [`NODE`].
    async fn with_file<T>(
        &self,
        path: &str,
        how: u32,
        work: impl AsyncFnOnce() -> Result<T, ShareError>,
    ) -> Result<T, ShareError> {
        self.at(&names(path)?, async |found| {
            if is_directory(found) {
                return Err(ShareError::Host(Errno::EISDIR));
            }
            self.open(NODE, how).await?;
            work().await
        })
        .await
    }

    /// Works with what a path leads to, which is [`NODE`], in a session.
    async fn at<T>(
        &self,
        names: &[&str],
        work: impl AsyncFnOnce(Option<Identity>) -> Result<T, ShareError>,
    ) -> Result<T, ShareError> {
        if self.longest.get().is_none() {
            self.begin().await?;
        }
        self.reach(ROOT, NODE, names, work).await
    }

    /// Works with `to`, which is what the names lead to from `from`, and gives it back. The work is
    /// told what it is, where there are names.
    async fn reach<T>(
        &self,
        from: Fid,
        to: Fid,
        names: &[&str],
        work: impl AsyncFnOnce(Option<Identity>) -> Result<T, ShareError>,
    ) -> Result<T, ShareError> {
        let mut found = self.walk(from, to, names.get(..WALK_MOST).unwrap_or(names)).await?;
        let mut result = Ok(());
        for part in names.get(WALK_MOST..).unwrap_or_default().chunks(WALK_MOST) {
            match self.walk(to, to, part).await {
                Ok(further) => found = further,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let result = match result {
            Ok(()) => work(found).await,
            Err(error) => Err(error),
        };
        // A session that has ended has no numbers to give back.
        if self.longest.get().is_none() {
            return result;
        }
        let given_back = self.done(Request::Clunk(to)).await;
        result.and_then(|value| given_back.map(|()| value))
    }

    async fn walk(
        &self,
        from: Fid,
        to: Fid,
        names: &[&str],
    ) -> Result<Option<Identity>, ShareError> {
        let body = self.asked(Request::Walk { from, to, names }).await?;
        let found = self.sound(wire::walked(&body, names.len()))?;
        match found.last() {
            last if found.len() == names.len() => Ok(last.copied()),
            Some(last) if !last.is_directory() => Err(ShareError::Host(Errno::ENOTDIR)),
            _ => Err(ShareError::Host(Errno::ENOENT)),
        }
    }

    /// Begins a session, which ends whatever was before.
    async fn begin(&self) -> Result<(), ShareError> {
        let body = self.asked(Request::Version(OFFERED)).await?;
        let longest = self.sound(wire::version(&body))?;
        if !(LEAST..=OFFERED).contains(&longest) {
            return self.sound(Err(Malformed::Version));
        }
        let body = self.asked(Request::Attach(ROOT)).await?;
        self.sound(wire::identity(&body, 0))?;
        self.longest.set(Some(longest));
        Ok(())
    }

    async fn open(&self, file: Fid, how: u32) -> Result<(), ShareError> {
        let body = self.asked(Request::Open(file, how)).await?;
        self.sound(wire::identity(&body, 4)).map(|_| ())
    }

    async fn status(&self, file: Fid) -> Result<FileStatus, ShareError> {
        let body = self.asked(Request::Status(file)).await?;
        self.sound(wire::status(&body))
    }

    /// As many entries from there on as fit in a message, of the directory that is [`READER`].
    async fn listing(&self, mut from: u64) -> Result<Listing, ShareError> {
        let mut listing = Listing::default();
        loop {
            let request = Request::Entries(READER, from, ENTRIES);
            let room = READ_HEADER + ENTRIES as usize;
            let (body, _) = self.ask(request, Payload::Within, room).await?;
            let data = self.sound(wire::data(&body, ENTRIES))?;
            let (entries, next) = self.sound(wire::entries(data))?;
            for entry in entries {
                let Some(status) = self.entry_status(entry.name.as_deref()).await? else {
                    continue;
                };
                if !listing.push(Entry { name: entry.shown, status }) {
                    listing.next = Some(from);
                    return Ok(listing);
                }
                from = entry.next;
            }
            match next {
                Some(next) => from = next,
                None => return Ok(listing),
            }
        }
    }

    /// What an entry of the directory [`NODE`] is; `None` where it is gone since.
    async fn entry_status(&self, name: Option<&str>) -> Result<Option<FileStatus>, ShareError> {
        let nameless = FileStatus { kind: FileKind::Other, bytes: 0, modified: 0 };
        let Some(name) = name else { return Ok(Some(nameless)) };
        match self.reach(NODE, CHILD, &[name], async |_| self.status(CHILD).await).await {
            Err(ShareError::Host(Errno::ENOENT)) => Ok(None),
            status => status.map(Some),
        }
    }

    /// The part of a span behind what is done that one message can have; `None` at its end.
    fn piece(&self, span: Span, done: u32) -> Option<Span> {
        let longest = self.longest.get().unwrap_or(LEAST);
        let bytes = span.bytes.saturating_sub(done).min(longest - WRITE_HEADER);
        (bytes > 0).then_some(Span { bus: span.bus + u64::from(done), bytes })
    }

    async fn read_piece(&self, offset: u64, piece: Span) -> Result<u32, ShareError> {
        let request = Request::Read(NODE, offset, piece.bytes);
        let (body, bytes) = self.ask(request, Payload::Received(piece), READ_HEADER).await?;
        let came = self.sound(wire::count(&body, piece.bytes))?;
        // What was written is where the message says that it is.
        if u64::from(came) + READ_HEADER as u64 != u64::from(bytes) {
            return self.sound(Err(Malformed::Length));
        }
        self.journal.note(Event::Read(came));
        Ok(came)
    }

    /// Asks to write; tells how many of the `most` bytes were, one at least.
    async fn write_piece(
        &self,
        request: Request<'_>,
        payload: Payload,
        most: u32,
    ) -> Result<u32, ShareError> {
        let (body, _) = self.ask(request, payload, ANSWER_MOST).await?;
        match self.sound(wire::count(&body, most))? {
            0 => self.sound(Err(Malformed::Count)),
            taken => {
                self.journal.note(Event::Wrote(taken));
                Ok(taken)
            }
        }
    }

    /// Asks for something that is answered by nothing but that it was done.
    async fn done(&self, request: Request<'_>) -> Result<(), ShareError> {
        let body = self.asked(request).await?;
        self.sound(wire::nothing(&body))
    }

    async fn asked(&self, request: Request<'_>) -> Result<Vec<u8>, ShareError> {
        Ok(self.ask(request, Payload::Within, ANSWER_MOST).await?.0)
    }

    /// Asks, and waits for the answer: what follows its header, and how many bytes came.
    async fn ask(
        &self,
        request: Request<'_>,
        payload: Payload,
        room: usize,
    ) -> Result<(Vec<u8>, u32), ShareError> {
        let tag = self.tag_for(&request);
        let exchange = Exchange { request: request.encode(tag), payload, room };
        self.outgoing.replace(Some(exchange));
        self.journal.note(Event::Asked(request.kind()));
        let Answer { message, bytes } = poll_fn(|_| match self.incoming.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await;
        match wire::body(&message, bytes, request.kind(), tag) {
            Ok(_) => Ok((message.get(HEADER..).unwrap_or_default().to_vec(), bytes)),
            Err(Refusal::Malformed(malformed)) => self.sound(Err(malformed)),
            Err(Refusal::Host(errno)) => {
                self.journal.note(Event::Refused(errno));
                Err(ShareError::Host(errno))
            }
        }
    }

    fn tag_for(&self, request: &Request<'_>) -> u16 {
        if matches!(request, Request::Version(_)) {
            return NO_TAG;
        }
        let tag = self.tag.get();
        self.tag.set((tag + 1) % NO_TAG);
        tag
    }

    /// What an answer says; one that says nothing ends the session.
    fn sound<T>(&self, read: Result<T, Malformed>) -> Result<T, ShareError> {
        read.map_err(|malformed| {
            self.longest.set(None);
            self.journal.note(Event::Malformed(malformed));
            ShareError::Protocol
        })
    }
}

/// Whether a walk ended at a directory: one without names ends where it began, and that is one.
fn is_directory(found: Option<Identity>) -> bool {
    found.is_none_or(Identity::is_directory)
}

/// A length that is known to be that of a message at most.
fn bytes_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
