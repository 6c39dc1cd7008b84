//! What drivers of virtio devices share. A library: the drivers are programs of their own.
//!
//! [`transport`] finds the device's structures from its configuration space, negotiates features
//! and sets queues up; [`regs`] names what lies in them; [`queue`] is the split virtqueue; `model`
//! (for tests) is the device's side of all of it. Everything is sans-IO: registers are a trait,
//! DMA memory is [`libd3os::dma::Dma`].
//!
//! The specification followed is Virtual I/O Device (VIRTIO) Version 1.2, OASIS; sections are
//! named where they apply. Not used: legacy devices (2.2.3), packed queues (2.8), indirect
//! descriptors (2.7.5.3).
//!
//! # Writing a driver
//!
//! ```text
//! let (windows, openings) = Mapped::open(&device)?;
//! let mut transport = Transport::find(&config, &openings, windows)?;
//! transport.reset()?;                            // whatever a predecessor left
//! let features = transport.negotiate(WANTED)?;   // VERSION_1 and ACCESS_PLATFORM by itself
//! let layout = Layout::new(transport.queue_size(0)?.min(QUEUE_MOST));
//! let mut queue = Queue::new(rings.part(0, layout.bytes())?, layout, features)?;
//! let notifier = transport.enable(0, queue.addresses(), INTERRUPT)?;
//! transport.start();
//!
//! queue.prepare(0, Segment { bus, bytes, access: Access::Write, next: None });
//! queue.offer(0, bytes);                         // head 0 is the device's
//! if queue.publish() { transport.notify(notifier); }
//! while let Some(used) = queue.take()? { … }     // head 0 is the driver's again
//! ```
//!
//! A queue's errors mean that the device does what no device may: reset it, and begin anew.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod mapped;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod queue;
pub mod regs;
pub mod transport;
