//! What a function is, in words, from its class code (PCI Code and ID Assignment 1.15).

/// The most exact words for a class code: class, subclass and programming interface.
#[must_use]
pub fn name(class: [u8; 3]) -> &'static str {
    let [base, subclass, interface] = class;
    let exact = INTERFACES.iter().find(|(code, _)| *code == [base, subclass, interface]);
    let general = || SUBCLASSES.iter().find(|(code, _)| *code == [base, subclass]);
    match (exact, general()) {
        (Some((_, name)), _) | (None, Some((_, name))) => name,
        (None, None) => base_name(base),
    }
}

fn base_name(base: u8) -> &'static str {
    match base {
        0x00 => "device older than class codes",
        0x01 => "storage controller",
        0x02 => "network controller",
        0x03 => "display controller",
        0x04 => "multimedia device",
        0x05 => "memory controller",
        0x06 => "bridge",
        0x07 => "communication controller",
        0x08 => "system device",
        0x09 => "input device",
        0x0a => "docking station",
        0x0b => "processor",
        0x0c => "serial bus controller",
        0x0d => "wireless controller",
        0x0e => "intelligent controller",
        0x0f => "satellite controller",
        0x10 => "encryption controller",
        0x11 => "signal processing controller",
        0x12 => "accelerator",
        0x13 => "instrumentation",
        0xff => "device without a class",
        _ => "device of an unknown class",
    }
}

const SUBCLASSES: [([u8; 2], &str); 62] = [
    ([0x00, 0x01], "VGA-compatible device"),
    ([0x01, 0x00], "SCSI controller"),
    ([0x01, 0x01], "IDE controller"),
    ([0x01, 0x02], "floppy controller"),
    ([0x01, 0x04], "RAID controller"),
    ([0x01, 0x05], "ATA controller"),
    ([0x01, 0x06], "SATA controller"),
    ([0x01, 0x07], "SAS controller"),
    ([0x01, 0x08], "non-volatile memory controller"),
    ([0x02, 0x00], "Ethernet controller"),
    ([0x02, 0x07], "InfiniBand controller"),
    ([0x02, 0x08], "fabric controller"),
    ([0x03, 0x00], "VGA controller"),
    ([0x03, 0x01], "XGA controller"),
    ([0x03, 0x02], "3D controller"),
    ([0x04, 0x00], "video device"),
    ([0x04, 0x01], "audio device"),
    ([0x04, 0x03], "HD audio device"),
    ([0x05, 0x00], "RAM controller"),
    ([0x05, 0x01], "flash controller"),
    ([0x05, 0x02], "CXL memory device"),
    ([0x06, 0x00], "host bridge"),
    ([0x06, 0x01], "ISA bridge"),
    ([0x06, 0x02], "EISA bridge"),
    ([0x06, 0x04], "PCI bridge"),
    ([0x06, 0x07], "CardBus bridge"),
    ([0x06, 0x09], "semi-transparent PCI bridge"),
    ([0x06, 0x0a], "InfiniBand host bridge"),
    ([0x07, 0x00], "serial port"),
    ([0x07, 0x01], "parallel port"),
    ([0x07, 0x02], "multiport serial controller"),
    ([0x07, 0x80], "communication device"),
    ([0x08, 0x00], "interrupt controller"),
    ([0x08, 0x01], "DMA controller"),
    ([0x08, 0x02], "timer"),
    ([0x08, 0x03], "real-time clock"),
    ([0x08, 0x04], "hot-plug controller"),
    ([0x08, 0x05], "SD host controller"),
    ([0x08, 0x06], "IOMMU"),
    ([0x09, 0x00], "keyboard controller"),
    ([0x09, 0x02], "mouse controller"),
    ([0x0b, 0x40], "coprocessor"),
    ([0x0c, 0x00], "FireWire controller"),
    ([0x0c, 0x03], "USB controller"),
    ([0x0c, 0x04], "Fibre Channel controller"),
    ([0x0c, 0x05], "SMBus controller"),
    ([0x0c, 0x06], "InfiniBand adapter"),
    ([0x0c, 0x07], "IPMI interface"),
    ([0x0c, 0x09], "CAN bus controller"),
    ([0x0d, 0x00], "IrDA controller"),
    ([0x0d, 0x11], "Bluetooth controller"),
    ([0x0d, 0x20], "802.11a controller"),
    ([0x0d, 0x21], "802.11b controller"),
    ([0x0e, 0x00], "I2O controller"),
    ([0x0f, 0x01], "satellite TV controller"),
    ([0x10, 0x00], "network encryption controller"),
    ([0x10, 0x10], "entertainment encryption controller"),
    ([0x11, 0x00], "DPIO module"),
    ([0x11, 0x01], "performance counters"),
    ([0x11, 0x10], "communication synchroniser"),
    ([0x11, 0x20], "signal processing management"),
    ([0x12, 0x00], "processing accelerator"),
];

const INTERFACES: [([u8; 3], &str); 15] = [
    ([0x01, 0x06, 0x01], "SATA controller (AHCI)"),
    ([0x01, 0x08, 0x02], "NVMe controller"),
    ([0x01, 0x08, 0x03], "NVMe administrative controller"),
    ([0x05, 0x02, 0x10], "CXL memory expander"),
    ([0x06, 0x04, 0x01], "subtractive PCI bridge"),
    ([0x07, 0x00, 0x02], "serial port (16550)"),
    ([0x08, 0x00, 0x10], "I/O APIC"),
    ([0x08, 0x00, 0x20], "I/O xAPIC"),
    ([0x08, 0x02, 0x03], "HPET"),
    ([0x0c, 0x03, 0x00], "USB controller (UHCI)"),
    ([0x0c, 0x03, 0x10], "USB controller (OHCI)"),
    ([0x0c, 0x03, 0x20], "USB 2 controller (EHCI)"),
    ([0x0c, 0x03, 0x30], "USB 3 controller (xHCI)"),
    ([0x0c, 0x03, 0x40], "USB 4 host interface"),
    ([0x0c, 0x03, 0xfe], "USB device"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_words_are_chosen() {
        assert_eq!(name([0x01, 0x08, 0x02]), "NVMe controller");
        assert_eq!(name([0x01, 0x08, 0x01]), "non-volatile memory controller");
        assert_eq!(name([0x01, 0x80, 0x00]), "storage controller");
        assert_eq!(name([0x02, 0x00, 0x00]), "Ethernet controller");
        assert_eq!(name([0x77, 0x00, 0x00]), "device of an unknown class");
    }

    #[test]
    fn no_code_is_listed_twice() {
        assert!(SUBCLASSES.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(INTERFACES.is_sorted_by(|(a, _), (b, _)| a < b));
    }
}
