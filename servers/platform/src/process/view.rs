//! The platform window: pages of device memory that init maps on demand.

use core::ptr;

use libd3os::service::devices::DevicesClient;
use libd3os::start::layout::{PAGE_SIZE, PLATFORM_PLACES, PLATFORM_WINDOW};
use platform::memory::Unreadable;
use platform::pages::Mapper;
use platform::pci::config::NOTHING;

/// The window.
#[derive(Debug)]
pub(crate) struct View {
    devices: DevicesClient,
    /// Which places have a page.
    mapped: [bool; PLATFORM_PLACES as usize],
}

impl View {
    /// The window, which is empty when a program starts.
    pub(crate) const fn new(devices: DevicesClient) -> Self {
        Self { devices, mapped: [false; PLATFORM_PLACES as usize] }
    }

    /// Where four bytes at a multiple of four are, if their place has a page.
    fn word(&self, place: u16, offset: u16) -> Option<*mut u32> {
        let is_mapped = self.mapped.get(usize::from(place)).copied().unwrap_or(false);
        let is_inside = u64::from(offset) < PAGE_SIZE && offset.is_multiple_of(4);
        let address = PLATFORM_WINDOW + u64::from(place) * PAGE_SIZE + u64::from(offset);
        let address = usize::try_from(address).ok().filter(|_| is_mapped && is_inside)?;
        Some(ptr::with_exposed_provenance_mut(address))
    }
}

impl Mapper for View {
    fn map(&mut self, place: u16, address: u64) -> Result<(), Unreadable> {
        let mapped = self.mapped.get_mut(usize::from(place)).ok_or(Unreadable)?;
        *mapped = self.devices.map(place, address).is_ok();
        if *mapped { Ok(()) } else { Err(Unreadable) }
    }

    fn read(&mut self, place: u16, offset: u16) -> u32 {
        let Some(word) = self.word(place, offset) else { return NOTHING };
        // SAFETY: init has mapped a page of device memory at this place, which nothing else in this
        // program knows of, and the word is aligned and in it.
        unsafe { word.read_volatile() }
    }

    fn write(&mut self, place: u16, offset: u16, value: u32) {
        let Some(word) = self.word(place, offset) else { return };
        // SAFETY: as above. It is a device's memory, never RAM, so no memory that Rust knows of
        // changes; what the device does then is what the core has decided.
        unsafe { word.write_volatile(value) }
    }
}
