//! The port and a printer at its end, as the specification describes them.

use crate::regs::{Control, Register, Registers, Status};

/// The port, with a printer that is busy after each byte until the test says otherwise.
#[derive(Debug)]
pub(crate) struct Port {
    switched_on: bool,
    data: u8,
    control: Control,
    busy: bool,
    edge: bool,
    paper: Vec<u8>,
}

impl Default for Port {
    fn default() -> Self {
        // A predecessor died with the strobe on.
        let control = Control::STROBE;
        let (data, busy, edge, paper) = (0, false, false, Vec::new());
        Self { switched_on: true, data, control, busy, edge, paper }
    }
}

impl Port {
    pub(crate) fn switched_off() -> Self {
        Self { switched_on: false, ..Self::default() }
    }

    /// What was printed.
    pub(crate) fn paper(&self) -> &[u8] {
        &self.paper
    }

    /// The printer is done with a byte; tells whether it had one.
    pub(crate) fn finish_byte(&mut self) -> bool {
        let had_one = std::mem::take(&mut self.busy);
        self.edge |= had_one && self.control.contains(Control::INTERRUPTS);
        had_one
    }

    /// Whether the port has interrupted since it was asked.
    pub(crate) fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.edge)
    }
}

impl Registers for Port {
    fn read(&mut self, register: Register) -> u8 {
        assert_eq!(register, Register::Status, "the driver has no reason to read {register:?}");
        if !self.switched_on {
            return 0;
        }
        let ready = if self.busy { Status::empty() } else { Status::READY };
        (Status::NO_ERROR | Status::SELECTED | ready).bits()
    }

    fn write(&mut self, register: Register, value: u8) {
        match register {
            Register::Data => self.data = value,
            Register::Status => panic!("the status cannot be written"),
            Register::Control => {
                let control = Control::from_bits_retain(value);
                let begins = (control - self.control).contains(Control::STROBE);
                if begins && self.switched_on {
                    assert!(!self.busy, "a byte that the printer could not take is lost");
                    self.paper.push(self.data);
                    self.busy = true;
                }
                self.control = control;
            }
        }
    }
}
