//! Addresses of kernel objects: physical, typed, and only as good as the retype that made them.

use core::fmt;
use core::marker::PhantomData;
use derive_where::derive_where;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A physical address, below 2^47.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// This address and `bytes` further.
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }

    /// Whether the low `bits` bits are zero.
    pub const fn is_aligned(self, bits: u8) -> bool {
        self.0 & ((1 << bits) - 1) == 0
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p:{:#x}", self.0)
    }
}

/// What may live in kernel memory: any bit pattern is a value of it, so reading one through a
/// stale reference gives a wrong answer at worst, never undefined behaviour.
pub trait KernelObject: FromBytes + IntoBytes + KnownLayout + Immutable {}
impl<T: FromBytes + IntoBytes + KnownLayout + Immutable> KernelObject for T {}

/// Where a kernel object of type `T` lives.
///
/// Copies of it are stored in capabilities and queues; the invariant that it points at a live `T`
/// is the kernel's own (every object is reachable only while its memory is retyped to it).
#[derive_where(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ref<T> {
    address: PhysAddr,
    object: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    /// The object at `address`.
    pub const fn at(address: PhysAddr) -> Self {
        Self { address, object: PhantomData }
    }

    /// Where it is.
    pub const fn address(self) -> PhysAddr {
        self.address
    }

    /// The same place as an object of another type: for objects that begin with one another
    /// (a TCB begins with its slots) and for arrays.
    pub const fn cast<U>(self) -> Ref<U> {
        Ref::at(self.address)
    }

    /// The `index`th object of an array that begins here.
    pub const fn index(self, index: u64) -> Self {
        Self::at(self.address.offset(index * size_of::<T>() as u64))
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address.0)
    }
}

/// An optional [`Ref`] as a field of a kernel object: zero is none.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[derive_where(Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Link<T> {
    address: u64,
    object: PhantomData<fn() -> T>,
}

impl<T> Link<T> {
    /// No object.
    pub const NONE: Self = Self { address: 0, object: PhantomData };

    /// A link to `target`.
    pub const fn to(target: Ref<T>) -> Self {
        Self { address: target.address.0, object: PhantomData }
    }

    /// What it links to.
    pub const fn get(self) -> Option<Ref<T>> {
        if self.address == 0 { None } else { Some(Ref::at(PhysAddr(self.address))) }
    }

    /// Whether it links to nothing.
    pub const fn is_none(self) -> bool {
        self.address == 0
    }
}

impl<T> From<Option<Ref<T>>> for Link<T> {
    fn from(target: Option<Ref<T>>) -> Self {
        target.map_or(Self::NONE, Self::to)
    }
}
impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}
