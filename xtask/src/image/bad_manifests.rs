//! A table of bad manifests: each is refused with the message that says where and why.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use libd3os::image::{AcpiDevice, BootDevice, PciId, StartPolicy};

use super::manifest::{parse, read};
use super::problem::ManifestError;
use super::rules::check;

const PROGRAMS: [&str; 5] = ["init", "uart", "console", "shell", "hello"];

const GOOD: &str = r#"
[image]
name = "default"

[resource.com1]
ports = "0x3f8-0x3ff"
irq = 4

[region.frames]
size = "1M"

[region.lines]
size = "4K"

[device.nic]
pci = ["1af4:1000", "1af4:1041"]

[device.screen]
pci = ["1234:1111"]
boot = "framebuffer"

[device.clock]
acpi = "hpet"

[[program]]
name = "uart"
priority = 200
budget = "5ms"
period = "10ms"
replies = 2
serves = ["uart"]
calls = ["log"]
ports = ["com1"]
interrupts = ["com1"]
signals = ["console-input"]
waits = ["com1-irq"]

[[program]]
name = "console"
start = "boot"
restart = "always"
priority = 150
budget = "5ms"
period = "10ms"
calls = ["uart", "log"]
signals = ["interrupt"]
waits = ["console-input", "log-ready"]

[[program]]
name = "nic"
file = "hello"
start = "device"
heartbeat = "2s"
priority = 180
budget = "5ms"
period = "10ms"
calls = ["log", "devices"]
devices = ["nic", "clock"]
regions = ["lines"]
dma = ["frames"]
waits = ["nic-irq", "device-ended"]

[[program]]
name = "hello-2"
file = "hello"
start = "later"
session = 2
priority = 90
budget = "5ms"
period = "10ms"
reads = ["frames"]
"#;

/// The message for [`GOOD`] with `from` replaced by `to`.
fn message(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the good manifest");
    let text = GOOD.replacen(from, to, 1);
    let found = parse(&text).and_then(|manifest| check(&manifest, &PROGRAMS));
    let (place, problem) = found.expect_err("a bad manifest");
    ManifestError { file: "images/x.toml".into(), place, problem }.to_string()
}

#[test]
fn the_good_one_is_good() {
    let manifest = parse(GOOD).expect("it parses");
    check(&manifest, &PROGRAMS).expect("it holds");
    let uart = manifest.program("uart").expect("it has uart");
    assert_eq!((uart.budget_us, uart.period_us, uart.priority), (5_000, 10_000, 200));
    assert_eq!((uart.heap_bytes, uart.stack_bytes), (256 << 10, 64 << 10));
    assert_eq!((uart.file(), uart.session, uart.heartbeat_us), ("uart", 0, None));
    let nic = manifest.program("nic").expect("it has nic");
    assert_eq!((nic.file(), nic.start), ("hello", StartPolicy::Device));
    assert_eq!((nic.heartbeat_us, &*nic.dma), (Some(2_000_000), &["frames".to_string()][..]));
    let second = manifest.program("hello-2").expect("it has a second hello");
    assert_eq!((second.session, second.start), (2, StartPolicy::Later));
    assert_eq!(manifest.region("frames").map(|region| region.bytes), Some(1 << 20));
    let screen = manifest.device("screen").expect("it has a screen");
    let id = PciId { vendor: 0x1234, device: 0x1111 };
    assert_eq!((&*screen.pci, screen.boot), (&[id][..], Some(BootDevice::Framebuffer)));
    let clock = manifest.device("clock").expect("it has a clock");
    assert_eq!((clock.pci.len(), clock.acpi, clock.boot), (0, Some(AcpiDevice::Hpet), None));
}

#[test]
fn the_default_image_is_good() {
    let manifest = parse(include_str!("../../../images/default.toml")).expect("it parses");
    // That the workspace has them all is found out when the image is built.
    let programs: Vec<&str> = manifest.programs.iter().map(|program| program.file()).collect();
    check(&manifest, &programs).expect("it holds");
    assert_eq!(manifest.name, "default");
}

#[test]
fn a_missing_file_is_named() {
    let error = read(Path::new("/nowhere/images/nosuch.toml")).expect_err("no such file");
    assert_eq!(error.to_string(), "images/nosuch.toml: cannot be read");
}

/// Manifests in files beside each other; gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = env::temp_dir().join(format!("d3os-{name}-{}", process::id())).join("images");
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = self.0.parent().map(fs::remove_dir_all);
    }
}

const MORE: &str = r#"
[image]
name = "more"
extends = "good"

[region.more]
size = "4K"

[[program]]
name = "shell"
priority = 90
budget = "5ms"
period = "10ms"
regions = ["more"]
"#;

#[test]
fn an_image_extends_another() {
    let again = MORE.replace("\"more\"", "\"again\"").replace("\"good\"", "\"more\"");
    let twice = MORE.replace("region.more", "region.frames");
    let files =
        [("good.toml", GOOD), ("more.toml", MORE), ("again.toml", &again), ("twice.toml", &twice)];
    let folder = Folder::new("extends", &files);
    let manifest = read(&folder.0.join("more.toml")).expect("it is good");
    check(&manifest, &PROGRAMS).expect("it holds");
    assert_eq!((manifest.name.as_str(), manifest.regions.len()), ("more", 3));
    let good = parse(GOOD).expect("it parses");
    assert_eq!(manifest.programs[..good.programs.len()], good.programs);
    assert_eq!(manifest.programs.last().map(|program| program.file()), Some("shell"));
    let error = |name| read(&folder.0.join(name)).expect_err("a bad manifest").to_string();
    assert_eq!(
        error("twice.toml"),
        "images/twice.toml: region `frames`: there are two of this name"
    );
    let expected = "image, key `extends`: `more` is not an image that extends none";
    assert_eq!(error("again.toml"), format!("images/again.toml: {expected}"));
}

/// Change of the good manifest (from, to), and what is then said behind the file's name.
type Bad = (&'static str, &'static str, &'static str);

/// Each of these is refused with file, table and key.
fn refused(table: &[Bad]) {
    for (from, to, expected) in table {
        assert_eq!(message(from, to), format!("images/x.toml: {expected}"), "{from} -> {to}");
    }
}

const THE_IMAGE_AND_ITS_SYNTAX: [Bad; 5] = [
    ("[image]", "[image", "not TOML"),
    ("[image]", "[imgae]", "key `imgae`: unknown key (did you mean `image`?)"),
    ("[image]\nname = \"default\"", "", "key `image`: missing"),
    ("name = \"default\"", "", "image, key `name`: missing"),
    (
        "name = \"default\"",
        "name = \"The Default\"",
        "image, key `name`: \"The Default\" is not a name of small letters, digits and hyphens",
    ),
];

#[test]
fn bad_image_tables_and_bad_syntax_are_refused() {
    refused(&THE_IMAGE_AND_ITS_SYNTAX);
}

const RESOURCES: [Bad; 4] = [
    ("irq = 4", "irq = 240", "resource `com1`, key `irq`: 240 is not an IOAPIC input, 0 to 239"),
    ("irq = 4", "irqs = 4", "resource `com1`, key `irqs`: unknown key (did you mean `irq`?)"),
    (
        "0x3f8-0x3ff",
        "0x3ff-0x3f8",
        "resource `com1`, key `ports`: \"0x3ff-0x3f8\" is not a range of ports like \
             \"0x3f8-0x3ff\"",
    ),
    (
        "irq = 4",
        "irq = 4\n[resource.com9]\nports = \"0x3ff\"",
        "resource `com9`, key `ports`: `ports` is given to `com1` already",
    ),
];

#[test]
fn bad_resources_are_refused() {
    refused(&RESOURCES);
}

const PROGRAM_NAMES_AND_POLICIES: [Bad; 10] = [
    ("name = \"uart\"", "", "program `number 1`, key `name`: missing"),
    (
        "name = \"uart\"",
        "name = \"urat\"",
        "program `urat`, key `name`: the workspace has no program of this name \
             (did you mean `uart`?)",
    ),
    ("name = \"uart\"", "name = \"init\"", "program `init`, key `name`: `init` belongs to init"),
    ("name = \"console\"", "name = \"uart\"", "program `uart`: there are two of this name"),
    (
        "restart = \"always\"",
        "restrat = \"always\"",
        "program `console`, key `restrat`: unknown key (did you mean `restart`?)",
    ),
    (
        "restart = \"always\"",
        "restart = \"sometimes\"",
        "program `console`, key `restart`: \"sometimes\" is not \"always\", \"on-failure\" \
             or \"never\"",
    ),
    (
        "start = \"boot\"",
        "start = true",
        "program `console`, key `start`: true is not \"boot\", \"manual\", \"later\" or \"device\"",
    ),
    (
        "file = \"hello\"",
        "file = \"helo\"",
        "program `nic`, key `file`: the workspace has no program of this name \
             (did you mean `hello`?)",
    ),
    ("file = \"hello\"", "file = \"init\"", "program `nic`, key `name`: `init` belongs to init"),
    (
        "session = 2",
        "session = 256",
        "program `hello-2`, key `session`: 256 is not a session, 0 to 255",
    ),
];

#[test]
fn bad_names_and_policies_of_programs_are_refused() {
    refused(&PROGRAM_NAMES_AND_POLICIES);
}

const TIMES_SIZES_AND_PRIORITIES: [Bad; 6] = [
    ("priority = 200", "", "program `uart`, key `priority`: missing"),
    (
        "priority = 200",
        "priority = 255",
        "program `uart`, key `priority`: 255 is not a priority, 0 to 254",
    ),
    (
        "budget = \"5ms\"",
        "budget = \"20ms\"",
        "program `uart`, key `budget`: a budget of 20000 us does not fit in a period of \
             10000 us",
    ),
    (
        "budget = \"5ms\"",
        "budget = 5",
        "program `uart`, key `budget`: 5 is not a time like \"5ms\"",
    ),
    (
        "budget = \"5ms\"",
        "budget = \"0ms\"",
        "program `uart`, key `budget`: \"0ms\" is not a time like \"5ms\"",
    ),
    (
        "start = \"boot\"",
        "heap = \"64 kB\"",
        "program `console`, key `heap`: \"64 kB\" is not a size like \"64K\"",
    ),
];

#[test]
fn bad_times_sizes_and_priorities_are_refused() {
    refused(&TIMES_SIZES_AND_PRIORITIES);
}

const SERVICES: [Bad; 7] = [
    (
        "replies = 2",
        "",
        "program `uart`, key `replies`: a program that serves needs at least one reply object",
    ),
    (
        "start = \"boot\"",
        "replies = 1",
        "program `console`, key `replies`: only a program that serves can use reply objects",
    ),
    (
        "start = \"boot\"",
        "serves = [\"uart\"]\nreplies = 1",
        "program `console`, key `serves`: `uart` is served by `uart` already",
    ),
    (
        "start = \"boot\"",
        "serves = [\"log\"]\nreplies = 1",
        "program `console`, key `serves`: `log` belongs to init",
    ),
    (
        "calls = [\"uart\", \"log\"]",
        "calls = [\"uart\", \"logs\"]",
        "program `console`, key `calls`: nobody serves `logs` (did you mean `log`?)",
    ),
    (
        "calls = [\"uart\", \"log\"]",
        "calls = [\"uart\", \"uart\"]",
        "program `console`, key `calls`: names `uart` twice",
    ),
    (
        "calls = [\"uart\", \"log\"]",
        "calls = \"uart\"",
        "program `console`, key `calls`: \"uart\" is not a list of names",
    ),
];

#[test]
fn bad_services_and_calls_are_refused() {
    refused(&SERVICES);
}

const HARDWARE_AND_NOTIFICATIONS: [Bad; 8] = [
    ("irq = 4", "", "program `uart`, key `interrupts`: resource `com1` has no `irq`"),
    ("ports = \"0x3f8-0x3ff\"", "", "program `uart`, key `ports`: resource `com1` has no `ports`"),
    (
        "priority = 200",
        "priority = 200\ncore = 1",
        "program `uart`, key `core`: 1 is not core 0, which alone has hardware and shared memory",
    ),
    (
        "ports = [\"com1\"]",
        "ports = [\"com2\"]",
        "program `uart`, key `ports`: no resource `com2` (did you mean `com1`?)",
    ),
    (
        "start = \"boot\"",
        "ports = [\"com1\"]",
        "program `console`, key `ports`: `com1` is given to `uart` already",
    ),
    (
        "signals = [\"console-input\"]",
        "signals = [\"console-inptu\"]",
        "program `uart`, key `signals`: nobody waits for `console-inptu` \
             (did you mean `console-input`?)",
    ),
    (
        "signals = [\"console-input\"]",
        "",
        "program `console`, key `waits`: nobody signals `console-input`",
    ),
    (
        "waits = [\"com1-irq\"]",
        "waits = [\"com1-irq\", \"log-ready\"]",
        "program `console`, key `waits`: `uart` waits for `log-ready` already",
    ),
];

#[test]
fn bad_hardware_and_notifications_are_refused() {
    refused(&HARDWARE_AND_NOTIFICATIONS);
}

const DEVICES: [Bad; 10] = [
    (
        "\"1af4:1000\"",
        "\"1af4\"",
        "device `nic`, key `pci`: \"1af4\" is not a list of PCI ids like \"1af4:1041\"",
    ),
    (
        "acpi = \"hpet\"",
        "acpi = \"pit\"",
        "device `clock`, key `acpi`: \"pit\" is not \"hpet\" or \"nfit\"",
    ),
    ("acpi = \"hpet\"", "", "device `clock`: says neither `pci`, `acpi` nor `boot`"),
    (
        "boot = \"framebuffer\"",
        "boot = \"screen\"",
        "device `screen`, key `boot`: \"screen\" is not \"framebuffer\"",
    ),
    (
        "devices = [\"nic\", \"clock\"]",
        "devices = [\"nick\"]",
        "program `nic`, key `devices`: no device `nick` (did you mean `nic`?)",
    ),
    (
        "session = 2",
        "devices = [\"nic\"]",
        "program `hello-2`, key `devices`: `nic` is given to `nic` already",
    ),
    (
        "start = \"later\"",
        "start = \"device\"",
        "program `hello-2`, key `start`: a program that starts with its devices needs some",
    ),
    (
        "session = 2",
        "core = 1",
        "program `hello-2`, key `core`: 1 is not core 0, which alone has hardware and shared memory",
    ),
    (
        "session = 2",
        "calls = [\"devices\"]",
        "program `hello-2`, key `calls`: `devices` is given to `nic` already",
    ),
    (
        "heartbeat = \"2s\"",
        "heartbeat = \"0s\"",
        "program `nic`, key `heartbeat`: \"0s\" is not a time like \"5ms\"",
    ),
];

#[test]
fn bad_devices_are_refused() {
    refused(&DEVICES);
}

const REGIONS: [Bad; 7] = [
    (
        "size = \"1M\"",
        "size = \"3M\"",
        "region `frames`, key `size`: \"3M\" is not a power of two from \"4K\" to \"1G\"",
    ),
    (
        "size = \"1M\"",
        "size = \"2K\"",
        "region `frames`, key `size`: \"2K\" is not a power of two from \"4K\" to \"1G\"",
    ),
    ("size = \"1M\"", "", "region `frames`, key `size`: missing"),
    (
        "reads = [\"frames\"]",
        "reads = [\"frame\"]",
        "program `hello-2`, key `reads`: no region `frame` (did you mean `frames`?)",
    ),
    (
        "regions = [\"lines\"]",
        "regions = [\"frames\"]",
        "program `nic`, key `dma`: `frames` is listed under another key, too",
    ),
    (
        "reads = [\"frames\"]",
        "dma = [\"lines\"]",
        "program `hello-2`, key `dma`: `lines` is for devices, and the program has none",
    ),
    (
        "reads = [\"frames\"]",
        "devices = [\"screen\"]\ndma = [\"frames\"]",
        "program `hello-2`, key `dma`: `frames` is given to `nic` already",
    ),
];

#[test]
fn bad_regions_are_refused() {
    refused(&REGIONS);
}
