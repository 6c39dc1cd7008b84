//! Reading `images/*.toml`: from text to the manifest that travels in the boot archive.
//!
//! Every table is read key by key instead of by a derived deserialiser, because the errors are
//! for people: they name the file, the table and the key, and guess what was meant.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use libd3os::image::{
    AcpiDevice, BootDevice, DeviceSpec, IrqLine, Manifest, PciId, Polarity, ProgramSpec,
    RegionSpec, Resource, RestartPolicy, StartPolicy, Trigger,
};
use toml::{Table, Value};

use super::problem::{ManifestError, Place, Problem};
use super::{quantity, suggest};

/// What is wrong and where; the file is added at the end.
pub(crate) type Found<T> = Result<T, (Place, Problem)>;

const TOP_KEYS: [&str; 5] = ["image", "resource", "region", "device", "program"];
const IMAGE_KEYS: [&str; 2] = ["name", "extends"];
const RESOURCE_KEYS: [&str; 4] = ["ports", "irq", "level", "active_low"];
const REGION_KEYS: [&str; 1] = ["size"];
const DEVICE_KEYS: [&str; 3] = ["pci", "acpi", "boot"];
const PROGRAM_KEYS: [&str; 24] = [
    "name",
    "file",
    "session",
    "start",
    "restart",
    "core",
    "priority",
    "budget",
    "period",
    "heap",
    "stack",
    "replies",
    "serves",
    "calls",
    "ports",
    "interrupts",
    "devices",
    "needs",
    "regions",
    "reads",
    "dma",
    "heartbeat",
    "signals",
    "waits",
];

/// Bytes that a region can have.
const REGIONS: RangeInclusive<u64> = 4096..=1 << 30;
/// Heap and stack of programs that say nothing.
const DEFAULT_HEAP: u64 = 256 << 10;
const DEFAULT_STACK: u64 = 64 << 10;

/// Reads a manifest, and the one that it extends; what they say is not checked yet (see
/// [`super::rules`]).
pub(crate) fn read(path: &Path) -> Result<Manifest, ManifestError> {
    let source = read_one(path)?;
    let Some(base) = &source.extends else { return Ok(source.manifest) };
    let below = read_one(&path.with_file_name(format!("{base}.toml")))?;
    let joined = match below.extends {
        None => extend(below.manifest, source.manifest),
        Some(_) => {
            let place = Place { table: "image".into(), key: Some("extends".into()) };
            let found = format!("`{base}`");
            Err((place, Problem::BadValue { found, expected: "an image that extends none" }))
        }
    };
    joined.map_err(|problem| in_file(path, problem))
}

fn read_one(path: &Path) -> Result<Source, ManifestError> {
    let text = fs::read_to_string(path).map_err(|source| unreadable(path, source));
    text.and_then(|text| parse_source(&text)).map_err(|problem| in_file(path, problem))
}

fn in_file(path: &Path, (place, problem): (Place, Problem)) -> ManifestError {
    ManifestError { file: short_name(path), place, problem }
}

/// What a manifest adds to the one that it extends: nothing is said twice.
fn extend(below: Manifest, above: Manifest) -> Found<Manifest> {
    Ok(Manifest {
        name: above.name,
        resources: join("resource", below.resources, above.resources, |known| &known.name)?,
        regions: join("region", below.regions, above.regions, |known| &known.name)?,
        devices: join("device", below.devices, above.devices, |known| &known.name)?,
        programs: join("program", below.programs, above.programs, |known| &known.name)?,
    })
}

fn join<T>(
    kind: &str,
    mut below: Vec<T>,
    above: Vec<T>,
    name: impl Fn(&T) -> &String,
) -> Found<Vec<T>> {
    let is_twice = |one: &&T| below.iter().any(|other| name(one) == name(other));
    if let Some(twice) = above.iter().find(is_twice) {
        return Err((Place::named(kind, name(twice)), Problem::Duplicate));
    }
    below.extend(above);
    Ok(below)
}

/// How the file is called in messages: `images/NAME.toml`.
pub(crate) fn short_name(path: &Path) -> Box<str> {
    let mut parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    parts.reverse();
    parts.join("/").into()
}

fn unreadable(path: &Path, source: std::io::Error) -> (Place, Problem) {
    let others: Vec<String> = path
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    let wanted = path.file_stem().unwrap_or_default().to_string_lossy();
    let suggestion = suggest::closest(&wanted, others.iter().map(String::as_str));
    (Place::default(), Problem::Unreadable { source, suggestion })
}

/// A manifest's file.
struct Source {
    manifest: Manifest,
    /// The image to whose manifest it adds.
    extends: Option<String>,
}

/// Reads a manifest that extends none from its text.
#[cfg(test)]
pub(crate) fn parse(text: &str) -> Found<Manifest> {
    parse_source(text).map(|source| source.manifest)
}

fn parse_source(text: &str) -> Found<Source> {
    let table: Table =
        text.parse().map_err(|error| (Place::default(), Problem::Syntax(Box::new(error))))?;
    let top = Keys::new(Place::default(), &table, &TOP_KEYS)?;
    let image = top.table("image")?;
    let image_place = Place { table: "image".into(), key: None };
    let image = Keys::new(image_place, image, &IMAGE_KEYS)?;
    let manifest = Manifest {
        name: image.name("name")?,
        resources: named(&top, "resource", resource)?,
        regions: named(&top, "region", region)?,
        devices: named(&top, "device", device)?,
        programs: programs(&top)?,
    };
    let extends = image.has("extends").then(|| image.name("extends")).transpose()?;
    Ok(Source { manifest, extends })
}

/// The tables `[KIND.NAME]`, in the order of the names.
fn named<T>(
    top: &Keys<'_>,
    kind: &str,
    read: impl Fn(&str, Place, &Table) -> Found<T>,
) -> Found<Vec<T>> {
    if !top.has(kind) {
        return Ok(Vec::new());
    }
    let all = top.table(kind)?.iter();
    all.map(|(name, value)| {
        let place = Place::named(kind, name);
        let table = value.as_table().ok_or_else(|| bad(&place, value, "a table"))?;
        read(name, place, table)
    })
    .collect()
}

fn resource(name: &str, place: Place, table: &Table) -> Found<Resource> {
    let keys = Keys::new(place, table, &RESOURCE_KEYS)?;
    let ports = keys.parsed("ports", "a range of ports like \"0x3f8-0x3ff\"", quantity::ports)?;
    Ok(Resource { name: name.into(), ports, irq: irq(&keys)? })
}

fn region(name: &str, place: Place, table: &Table) -> Found<RegionSpec> {
    let keys = Keys::new(place, table, &REGION_KEYS)?;
    keys.require("size")?;
    let size =
        |text: &str| quantity::size(text).filter(|n| n.is_power_of_two() && REGIONS.contains(n));
    let bytes = keys.parsed("size", "a power of two from \"4K\" to \"1G\"", size)?;
    Ok(RegionSpec { name: name.into(), bytes: bytes.unwrap_or(0) })
}

fn device(name: &str, place: Place, table: &Table) -> Found<DeviceSpec> {
    let keys = Keys::new(place, table, &DEVICE_KEYS)?;
    let acpi = |text: &str| AcpiDevice::ALL.into_iter().find(|known| known.word() == text);
    let boot =
        |text: &str| Some(BootDevice::Framebuffer).filter(|framebuffer| framebuffer.word() == text);
    Ok(DeviceSpec {
        name: name.into(),
        pci: keys.list("pci", "a list of PCI ids like \"1af4:1041\"", PciId::parse)?,
        acpi: keys.parsed("acpi", "\"hpet\" or \"nfit\"", acpi)?,
        boot: keys.parsed("boot", "\"framebuffer\"", boot)?,
    })
}

fn irq(keys: &Keys<'_>) -> Found<Option<IrqLine>> {
    let Some(pin) = keys.number("irq", "an IOAPIC input, 0 to 239", 239)? else {
        return Ok(None);
    };
    let trigger = if keys.flag("level")? { Trigger::Level } else { Trigger::Edge };
    let low = keys.flag("active_low")?;
    let polarity = if low { Polarity::ActiveLow } else { Polarity::ActiveHigh };
    Ok(Some(IrqLine { pin, trigger, polarity }))
}

fn programs(top: &Keys<'_>) -> Found<Vec<ProgramSpec>> {
    let place = top.place.key("program");
    let value = top.require("program")?;
    let list = value.as_array().ok_or_else(|| bad(&place, value, "[[program]] tables"))?;
    list.iter().enumerate().map(|(number, value)| program(number, value)).collect()
}

fn program(number: usize, value: &Value) -> Found<ProgramSpec> {
    // A program without a usable name is called by its number.
    let number = format!("number {}", number + 1);
    let known = value.get("name").and_then(Value::as_str).unwrap_or(&number);
    let place = Place::program(known);
    let table = value.as_table().ok_or_else(|| bad(&place, value, "a table"))?;
    let keys = Keys::new(place, table, &PROGRAM_KEYS)?;
    let name = keys.name("name")?;
    Ok(ProgramSpec {
        file: keys.has("file").then(|| keys.name("file")).transpose()?,
        session: session(&keys)?,
        start: start(&keys)?,
        restart: restart(&keys)?,
        core: keys.number("core", "a core's number", u32::MAX)?.unwrap_or(0),
        priority: priority(&keys)?,
        budget_us: keys.duration("budget")?,
        period_us: keys.duration("period")?,
        heap_bytes: keys.size("heap")?.unwrap_or(DEFAULT_HEAP),
        stack_bytes: keys.size("stack")?.unwrap_or(DEFAULT_STACK),
        replies: keys.number("replies", "a number of reply objects, 0 to 64", 64)?.unwrap_or(0),
        serves: keys.names("serves")?,
        calls: keys.names("calls")?,
        ports: keys.names("ports")?,
        interrupts: keys.names("interrupts")?,
        devices: keys.names("devices")?,
        needs: keys.names("needs")?,
        regions: keys.names("regions")?,
        reads: keys.names("reads")?,
        dma: keys.names("dma")?,
        heartbeat_us: keys.has("heartbeat").then(|| keys.duration("heartbeat")).transpose()?,
        signals: keys.names("signals")?,
        waits: keys.names("waits")?,
        name,
    })
}

fn start(keys: &Keys<'_>) -> Found<StartPolicy> {
    let parse = |text: &str| match text {
        "boot" => Some(StartPolicy::Boot),
        "manual" => Some(StartPolicy::Manual),
        "later" => Some(StartPolicy::Later),
        "device" => Some(StartPolicy::Device),
        _ => None,
    };
    let expected = "\"boot\", \"manual\", \"later\" or \"device\"";
    Ok(keys.parsed("start", expected, parse)?.unwrap_or_default())
}

fn session(keys: &Keys<'_>) -> Found<u8> {
    let number = keys.number("session", "a session, 0 to 255", 255)?;
    Ok(number.and_then(|n| u8::try_from(n).ok()).unwrap_or(0))
}

fn restart(keys: &Keys<'_>) -> Found<RestartPolicy> {
    let parse = |text: &str| match text {
        "always" => Some(RestartPolicy::Always),
        "on-failure" => Some(RestartPolicy::OnFailure),
        "never" => Some(RestartPolicy::Never),
        _ => None,
    };
    let expected = "\"always\", \"on-failure\" or \"never\"";
    Ok(keys.parsed("restart", expected, parse)?.unwrap_or_default())
}

fn priority(keys: &Keys<'_>) -> Found<u8> {
    keys.require("priority")?;
    let number = keys.number("priority", "a priority, 0 to 254", 254)?;
    Ok(number.and_then(|n| u8::try_from(n).ok()).unwrap_or(0))
}

/// A table whose keys are all known.
struct Keys<'a> {
    place: Place,
    table: &'a Table,
}

impl<'a> Keys<'a> {
    fn new(place: Place, table: &'a Table, known: &[&str]) -> Found<Self> {
        match table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Self { place, table }),
            Some(key) => {
                let suggestion = suggest::closest(key, known.iter().copied());
                Err((place.key(key), Problem::UnknownKey(suggestion)))
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn require(&self, key: &str) -> Found<&'a Value> {
        self.table.get(key).ok_or_else(|| (self.place.key(key), Problem::Missing))
    }

    fn table(&self, key: &str) -> Found<&'a Table> {
        let value = self.require(key)?;
        value.as_table().ok_or_else(|| self.bad(key, value, "a table"))
    }

    fn text(&self, key: &str, expected: &'static str) -> Found<Option<&'a str>> {
        let read = |value: &'a Value| value.as_str().ok_or_else(|| self.bad(key, value, expected));
        self.table.get(key).map(read).transpose()
    }

    fn parsed<T>(
        &self,
        key: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Found<Option<T>> {
        let read = |text: &str| {
            parse(text).ok_or_else(|| self.bad(key, &Value::String(text.into()), expected))
        };
        self.text(key, expected)?.map(read).transpose()
    }

    fn number(&self, key: &str, expected: &'static str, most: u32) -> Found<Option<u32>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most);
        number.map(Some).ok_or_else(|| self.bad(key, value, expected))
    }

    fn flag(&self, key: &str) -> Found<bool> {
        let Some(value) = self.table.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.bad(key, value, "true or false"))
    }

    fn duration(&self, key: &str) -> Found<u64> {
        self.require(key)?;
        let positive = |text: &str| quantity::microseconds(text).filter(|us| *us > 0);
        Ok(self.parsed(key, "a time like \"5ms\"", positive)?.unwrap_or(0))
    }

    fn size(&self, key: &str) -> Found<Option<u64>> {
        self.parsed(key, "a size like \"64K\"", quantity::size)
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Found<Vec<T>> {
        let Some(value) = self.table.get(key) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| self.bad(key, value, expected))?;
        let read = |item: &Value| {
            let parsed = item.as_str().and_then(&parse);
            parsed.ok_or_else(|| self.bad(key, item, expected))
        };
        items.iter().map(read).collect()
    }

    fn name(&self, key: &str) -> Found<String> {
        let value = self.require(key)?;
        name_of(value).ok_or_else(|| self.bad(key, value, NAME))
    }

    fn names(&self, key: &str) -> Found<Vec<String>> {
        let Some(value) = self.table.get(key) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| self.bad(key, value, "a list of names"))?;
        let mut names = Vec::new();
        for item in list {
            let name = name_of(item).ok_or_else(|| self.bad(key, item, NAME))?;
            if names.contains(&name) {
                return Err((self.place.key(key), Problem::ListedTwice(name)));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn bad(&self, key: &str, value: &Value, expected: &'static str) -> (Place, Problem) {
        bad(&self.place.key(key), value, expected)
    }
}

const NAME: &str = "a name of small letters, digits and hyphens";

fn name_of(value: &Value) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let text = value.as_str().filter(|text| !text.is_empty() && text.chars().all(allowed))?;
    Some(text.to_owned())
}

fn bad(place: &Place, value: &Value, expected: &'static str) -> (Place, Problem) {
    (place.clone(), Problem::BadValue { found: value.to_string(), expected })
}
