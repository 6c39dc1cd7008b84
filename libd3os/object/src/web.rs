//! Reading along pointers from object to object.
//!
//! A [`Web`] starts at one object and opens others as pointers lead to them, each once: what an entry of
//! a Foreign Object Table means, late-bound names included, is settled when the first pointer through
//! it is followed, and stays so until the web ends. All objects of a web are under its session's guard.

use core::cell::RefCell;
use core::fmt;
use core::ptr::NonNull;

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::fot::{self, Entry, FotError, Rights, Target};
use crate::id::ObjectId;
use crate::mapping::Mapping;
use crate::medium::Medium;
use crate::object::Object;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::session::{Busy, Session};
use crate::view::{self, View};

/// Finds and maps other objects.
pub trait Opener<M> {
    /// Maps an object to read it.
    ///
    /// # Errors
    /// It does not exist any more, or may not be read.
    fn open(&self, id: ObjectId, rights: Rights) -> Result<Arc<Mapping<M>>, LinkError>;

    /// What a name means now, and the version of the names that says so.
    ///
    /// # Errors
    /// Nothing, or it may not be asked.
    fn resolve(&self, name: &str) -> Result<(ObjectId, u64), LinkError>;
}

/// A pointer to another object cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The pointer leads nowhere in the object where it ends.
    Pointer(PointerError),
    /// Its entry is missing or damaged.
    Entry(FotError),
    /// The object does not exist any more.
    Dangling {
        /// The object.
        id: ObjectId,
    },
    /// The right to it was taken away, or was never given.
    Revoked {
        /// The object.
        id: ObjectId,
    },
    /// The name of this entry means nothing.
    Unresolved,
    /// The names are of an older version than the entry wants.
    Outdated {
        /// They are of this one.
        version: u64,
        /// This one it wants.
        wanted: u64,
    },
    /// The object is in use.
    Busy(Busy),
    /// The entry does not allow to read.
    NotReadable,
}

/// Objects that are read together.
pub struct Web<'s, M: Medium> {
    session: &'s Session<M>,
    opener: &'s dyn Opener<M>,
    // Shared pointers, so that they stay where they are when there are more of them.
    contexts: RefCell<Vec<Rc<Context<M>>>>,
}

/// An object of a web.
struct Context<M> {
    mapping: Arc<Mapping<M>>,
    header: NonNull<u8>,
    end: u64,
    /// What the entries of its table mean, as far as they were asked for.
    links: RefCell<Vec<Option<Link<M>>>>,
}

/// What an entry leads to. Where the object lies is noted here, too: who follows one pointer after the
/// other waits for one load less.
struct Link<M> {
    context: NonNull<Context<M>>,
    header: NonNull<u8>,
    end: u64,
}

/// A pointer together with the object in which it means something.
pub struct Far<'w, T, M: Medium> {
    web: &'w Web<'w, M>,
    context: &'w Context<M>,
    header: NonNull<u8>,
    end: u64,
    pointer: PPtr<T>,
}

impl<'s, M: Medium> Web<'s, M> {
    /// A web in which no object is yet.
    #[must_use]
    pub const fn new(session: &'s Session<M>, opener: &'s dyn Opener<M>) -> Self {
        Self { session, opener, contexts: RefCell::new(Vec::new()) }
    }

    /// The base of an object.
    ///
    /// # Errors
    /// The object is in use.
    pub fn base<'w, T: Persist>(&'w self, object: &Object<T, M>) -> Result<Far<'w, T, M>, Busy> {
        let context = self.context(object.mapping())?;
        let Context { header, end, .. } = *context;
        Ok(Far { web: self, context, header, end, pointer: object.base() })
    }

    fn context(&self, mapping: &Arc<Mapping<M>>) -> Result<&Context<M>, Busy> {
        let known = |contexts: &Vec<Rc<Context<M>>>| {
            contexts.iter().position(|context| Arc::ptr_eq(&context.mapping, mapping))
        };
        let number = known(&self.contexts.borrow());
        let number = match number {
            Some(number) => number,
            None => self.enter(mapping)?,
        };
        let context = Rc::as_ptr(&self.contexts.borrow()[number]);
        // SAFETY: contexts stay where they are, and are dropped with the web only.
        Ok(unsafe { &*context })
    }

    fn enter(&self, mapping: &Arc<Mapping<M>>) -> Result<usize, Busy> {
        self.session.begin_read(mapping)?;
        let (header, end) = (mapping.medium().base(), mapping.bytes());
        let (mapping, links) = (Arc::clone(mapping), RefCell::default());
        let mut contexts = self.contexts.borrow_mut();
        contexts.push(Rc::new(Context { mapping, header, end, links }));
        Ok(contexts.len() - 1)
    }

    /// The object that an entry of another one leads to.
    #[cold]
    fn bind(&self, from: &Context<M>, entry: u32) -> Result<Link<M>, LinkError> {
        let Entry { target, rights } = fot::entry(from, entry)?;
        if !rights.include(Rights::READ) {
            return Err(LinkError::NotReadable);
        }
        let id = match target {
            Target::Object(id) => id,
            Target::Name { name, version: wanted } => {
                let (id, version) = self.opener.resolve(&name)?;
                if version < wanted {
                    return Err(LinkError::Outdated { version, wanted });
                }
                id
            }
        };
        let context = self.context(&self.opener.open(id, rights)?)?;
        let mut links = from.links.borrow_mut();
        let at = entry as usize;
        if links.len() <= at {
            links.resize(at + 1, None);
        }
        let Context { header, end, .. } = *context;
        let link = Link { context: NonNull::from(context), header, end };
        links[at] = Some(link);
        Ok(link)
    }
}

impl<M: Medium> Drop for Web<'_, M> {
    fn drop(&mut self) {
        for context in self.contexts.get_mut() {
            self.session.end_read(&context.mapping);
        }
    }
}

impl<'w, T: Persist, M: Medium> Far<'w, T, M> {
    /// What it points to.
    ///
    /// # Errors
    /// It leads nowhere.
    #[inline]
    pub fn get(&self) -> Result<&'w T, PointerError> {
        const { T::CHECKED };
        let (bytes, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        let at = view::check(self.pointer.cast(), bytes, align, self.end)?;
        // SAFETY: within the medium, whose beginning is the header.
        let found = unsafe { self.header.add(usize::try_from(at).unwrap_or(0)) };
        // SAFETY: so many bytes, aligned as a `T`, of which every pattern is one; the web's session keeps
        // everybody from changing them as long as the web.
        Ok(unsafe { found.cast().as_ref() })
    }

    /// A pointer that was found where this one leads, in that object or in another one.
    ///
    /// # Errors
    /// It leads to an object that cannot be opened.
    #[inline]
    pub fn follow<U: Persist>(&self, pointer: PPtr<U>) -> Result<Far<'w, U, M>, LinkError> {
        let entry = pointer.entry();
        let Self { web, context, header, end, .. } = *self;
        if entry == 0 {
            return Ok(Far { web, context, header, end, pointer });
        }
        let Link { context, header, end } = match context.link(entry) {
            Some(link) => link,
            None => web.bind(context, entry)?,
        };
        // SAFETY: contexts are dropped with their web, and nobody has one of another web.
        let context = unsafe { context.as_ref() };
        Ok(Far { web, context, header, end, pointer: PPtr::local(pointer.offset()) })
    }

    /// The object in which it leads to something.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        self.context.mapping.id()
    }
}

impl<M: Medium> Context<M> {
    #[inline]
    fn link(&self, entry: u32) -> Option<Link<M>> {
        self.links.borrow().get(entry as usize).copied().flatten()
    }
}

// SAFETY: the bytes are within the object, which is mapped; the web's session keeps everybody from
// changing it.
unsafe impl<M: Medium> View for Context<M> {
    #[inline]
    fn end(&self) -> u64 {
        self.end
    }

    #[inline]
    fn header(&self) -> NonNull<u8> {
        self.header
    }

    #[inline]
    fn locate(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<NonNull<u8>, PointerError> {
        let at = view::check(pointer, bytes, align, self.end)?;
        // SAFETY: within the medium, whose beginning is the header.
        Ok(unsafe { self.header.add(usize::try_from(at).unwrap_or(0)) })
    }
}

impl<M> Clone for Link<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Link<M> {}

impl<T, M: Medium> Clone for Far<'_, T, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, M: Medium> Copy for Far<'_, T, M> {}

impl fmt::Display for LinkError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(error) => error.fmt(to),
            Self::Entry(error) => error.fmt(to),
            Self::Dangling { id } => write!(to, "object {id} does not exist any more"),
            Self::Revoked { id } => write!(to, "there is no right to object {id}"),
            Self::Unresolved => to.write_str("the name means nothing"),
            Self::Outdated { version, wanted } => {
                write!(to, "names of version {version} are asked, {wanted} is wanted")
            }
            Self::Busy(busy) => busy.fmt(to),
            Self::NotReadable => to.write_str("the entry does not allow to read"),
        }
    }
}

impl core::error::Error for LinkError {}

impl From<FotError> for LinkError {
    fn from(error: FotError) -> Self {
        Self::Entry(error)
    }
}

impl From<PointerError> for LinkError {
    fn from(error: PointerError) -> Self {
        Self::Pointer(error)
    }
}

impl From<Busy> for LinkError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}
