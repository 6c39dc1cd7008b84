//! Init, as the core needs it, through its service `devices`.

use alloc::string::ToString;
use alloc::vec::Vec;

use libd3os::call::Error;
use libd3os::service::devices::{DevicesClient, DevicesError, Provided, WantedDevice, Wiring};
use platform::core::Init;

/// Init.
#[derive(Debug)]
pub(crate) struct Supervisor(pub(crate) DevicesClient);

impl Init for Supervisor {
    type Error = Error<DevicesError>;

    fn wanted(&mut self) -> Result<Vec<WantedDevice>, Self::Error> {
        let mut wanted = Vec::new();
        let mut from = Some(0);
        while let Some(first) = from {
            let page = self.0.wanted(first)?;
            wanted.extend(page.items);
            from = page.next.filter(|next| *next > first);
        }
        Ok(wanted)
    }

    fn provide(&mut self, name: &str, provided: &Provided) -> Result<Wiring, Self::Error> {
        self.0.provide(name.to_string(), provided.clone())
    }

    fn ready(&mut self, name: &str) -> Result<(), Self::Error> {
        self.0.ready(name.to_string())
    }

    fn absent(&mut self, name: &str, reason: &str) -> Result<(), Self::Error> {
        self.0.absent(name.to_string(), reason.to_string())
    }

    fn sleep_types(&mut self, a: u8, b: u8) -> Result<(), Self::Error> {
        self.0.sleep_types(a, b)
    }
}
