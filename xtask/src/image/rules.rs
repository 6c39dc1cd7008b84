//! What a manifest must fulfil beyond its syntax: names that exist, rights that make sense.

use std::collections::BTreeMap;

use libd3os::ends::tells_of_ends;
use libd3os::image::{DeviceSpec, Manifest, PortRange, ProgramSpec, Resource, StartPolicy};
use libd3os::service::console::INTERRUPTS;
use libd3os::start::GrantKind;

use super::manifest::Found;
use super::problem::{Place, Problem};
use super::suggest;

/// Services of init's own.
const INIT_SERVES: [&str; 4] = ["supervisor", "log", "devices", "persistent"];
/// The one of them that one program only may call: it tells what the devices are.
const DEVICES: &str = "devices";
/// Notifications that init waits for.
const INIT_WAITS: [&str; 5] = INTERRUPTS;
/// Notifications that init signals.
const INIT_SIGNALS: [&str; 3] = ["log-ready", "program-ended", "device-ended"];

/// Checks everything; `programs` are the workspace's.
pub(crate) fn check(manifest: &Manifest, programs: &[&str]) -> Found<()> {
    each(manifest, |program| exists(program, programs))?;
    unique(manifest)?;
    each(manifest, time)?;
    each(manifest, core)?;
    services(manifest)?;
    notifications(manifest)?;
    hardware(manifest)?;
    devices(manifest)?;
    regions(manifest)
}

fn each(manifest: &Manifest, check: impl Fn(&ProgramSpec) -> Found<()>) -> Found<()> {
    manifest.programs.iter().try_for_each(check)
}

fn at(program: &ProgramSpec, key: &str) -> Place {
    Place::program(&program.name).key(key)
}

fn exists(program: &ProgramSpec, programs: &[&str]) -> Found<()> {
    if program.name == "init" || program.file() == "init" {
        return Err((at(program, "name"), Problem::Reserved("init".into())));
    }
    match programs.contains(&program.file()) {
        true => Ok(()),
        false => {
            let key = if program.file.is_some() { "file" } else { "name" };
            let others = programs.iter().copied().filter(|name| *name != "init");
            let suggestion = suggest::closest(program.file(), others);
            Err((at(program, key), Problem::NoProgram(suggestion)))
        }
    }
}

fn unique(manifest: &Manifest) -> Found<()> {
    let mut seen = Vec::new();
    each_once(manifest.programs.iter().map(|program| &program.name), &mut seen)
        .map_err(|name| (Place::program(name), Problem::Duplicate))
}

fn each_once<'a>(
    names: impl Iterator<Item = &'a String>,
    seen: &mut Vec<&'a String>,
) -> Result<(), &'a String> {
    for name in names {
        if seen.contains(&name) {
            return Err(name);
        }
        seen.push(name);
    }
    Ok(())
}

fn time(program: &ProgramSpec) -> Found<()> {
    match program.budget_us <= program.period_us {
        true => Ok(()),
        false => {
            let (budget_us, period_us) = (program.budget_us, program.period_us);
            Err((at(program, "budget"), Problem::BudgetOverPeriod { budget_us, period_us }))
        }
    }
}

fn core(program: &ProgramSpec) -> Found<()> {
    let tied = GrantKind::NAMED.into_iter().filter(|kind| kind.is_of_core_0());
    let is_tied = tied.into_iter().any(|kind| !program.names(kind).is_empty());
    match program.core {
        0 => Ok(()),
        _ if !is_tied => Ok(()),
        other => {
            let expected = "core 0, which alone has hardware and shared memory";
            let found = other.to_string();
            Err((at(program, "core"), Problem::BadValue { found, expected }))
        }
    }
}

fn services(manifest: &Manifest) -> Found<()> {
    let servers = servers(manifest)?;
    one_platform(manifest)?;
    each(manifest, |program| {
        for name in &program.calls {
            if !servers.contains_key(name.as_str()) {
                let suggestion = suggest::closest(name, servers.keys().copied());
                let problem = Problem::NobodyServes { name: name.clone(), suggestion };
                return Err((at(program, "calls"), problem));
            }
        }
        replies(program)
    })
}

/// What the devices are is told by one program.
fn one_platform(manifest: &Manifest) -> Found<()> {
    let is_caller = |program: &&ProgramSpec| program.calls.iter().any(|name| name == DEVICES);
    let mut callers = manifest.programs.iter().filter(is_caller);
    match (callers.next(), callers.next()) {
        (Some(first), Some(second)) => {
            let (name, other) = (DEVICES.into(), first.name.clone());
            Err((at(second, "calls"), Problem::ResourceTaken { name, other }))
        }
        _ => Ok(()),
    }
}

/// Who serves what, init included.
fn servers(manifest: &Manifest) -> Found<BTreeMap<&str, &str>> {
    let mut servers: BTreeMap<&str, &str> = INIT_SERVES.map(|name| (name, "init")).into();
    for program in &manifest.programs {
        for service in &program.serves {
            let Some(other) = servers.insert(service, &program.name) else { continue };
            let problem = match other {
                "init" => Problem::Reserved(service.clone()),
                other => Problem::ServedTwice { service: service.clone(), other: other.into() },
            };
            return Err((at(program, "serves"), problem));
        }
    }
    Ok(servers)
}

fn replies(program: &ProgramSpec) -> Found<()> {
    let wrong = match (program.serves.is_empty(), program.replies) {
        (false, 0) => "a program that serves needs at least one reply object",
        (true, 1..) => "only a program that serves can use reply objects",
        _ => return Ok(()),
    };
    Err((at(program, "replies"), Problem::Replies(wrong)))
}

fn notifications(manifest: &Manifest) -> Found<()> {
    let waiters = waiters(manifest)?;
    let signals: Vec<&str> = manifest.programs.iter().flat_map(signalled_for).collect();
    let resources = manifest.resources.iter().map(|resource| &resource.name);
    let interrupting = resources.chain(manifest.devices.iter().map(|device| &device.name));
    let irqs: Vec<String> = interrupting.map(|name| irq_notification(name)).collect();
    let irqs = irqs.iter().map(String::as_str);
    let signallers: Vec<&str> = signals.into_iter().chain(INIT_SIGNALS).chain(irqs).collect();
    each(manifest, |program| {
        let unheard = program.signals.iter().find(|name| !waiters.contains_key(name.as_str()));
        if let Some(name) = unheard.cloned() {
            let suggestion = suggest::closest(&name, waiters.keys().copied());
            return Err((at(program, "signals"), Problem::NobodyWaits { name, suggestion }));
        }
        let signalled = |name: &str| signallers.contains(&name) || tells_of_ends(name);
        let silent = program.waits.iter().find(|name| !signalled(name));
        if let Some(name) = silent.cloned() {
            let suggestion = suggest::closest(&name, signallers.iter().copied());
            return Err((at(program, "waits"), Problem::NobodySignals { name, suggestion }));
        }
        Ok(())
    })
}

fn signalled_for(program: &ProgramSpec) -> impl Iterator<Item = &str> {
    program.signals.iter().map(String::as_str)
}

/// The notification that the interrupt of a resource or device signals: its name and `-irq`.
fn irq_notification(name: &str) -> String {
    format!("{name}-irq")
}

/// Who waits for what, init included.
fn waiters(manifest: &Manifest) -> Found<BTreeMap<&str, &str>> {
    let mut waiters: BTreeMap<&str, &str> = INIT_WAITS.map(|name| (name, "init")).into();
    for program in &manifest.programs {
        for name in &program.waits {
            if let Some(other) = waiters.insert(name, &program.name) {
                let problem = Problem::AwaitedTwice { name: name.clone(), other: other.into() };
                return Err((at(program, "waits"), problem));
            }
        }
    }
    Ok(waiters)
}

fn hardware(manifest: &Manifest) -> Found<()> {
    granted(manifest, "ports", |program| &program.ports, |resource| resource.ports.is_some())?;
    granted(manifest, "interrupts", |program| &program.interrupts, |r| r.irq.is_some())?;
    overlaps(manifest)
}

/// Every device is something, and has one driver at most.
fn devices(manifest: &Manifest) -> Found<()> {
    let is_nothing = |device: &&DeviceSpec| {
        device.pci.is_empty() && device.acpi.is_none() && device.boot.is_none()
    };
    if let Some(nothing) = manifest.devices.iter().find(is_nothing) {
        return Err((Place::named("device", &nothing.name), Problem::NoSuchHardware));
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for program in &manifest.programs {
        let has_none = program.devices.is_empty() && program.needs.is_empty();
        if program.start == StartPolicy::Device && has_none {
            return Err((at(program, "start"), Problem::NoDevices));
        }
        if let Some(name) = program.needs.iter().find(|name| manifest.device(name).is_none()) {
            return Err((at(program, "needs"), no_device(manifest, name)));
        }
        for name in &program.devices {
            if manifest.device(name).is_none() {
                return Err((at(program, "devices"), no_device(manifest, name)));
            }
            if let Some(other) = owners.insert(name, &program.name) {
                let (name, other) = (name.clone(), other.into());
                return Err((at(program, "devices"), Problem::ResourceTaken { name, other }));
            }
        }
    }
    Ok(())
}

fn no_device(manifest: &Manifest, name: &str) -> Problem {
    let known = manifest.devices.iter().map(|device| &*device.name);
    Problem::NoDevice { name: name.into(), suggestion: suggest::closest(name, known) }
}

fn no_region(manifest: &Manifest, name: &str) -> Problem {
    let known = manifest.regions.iter().map(|region| &*region.name);
    Problem::NoRegion { name: name.into(), suggestion: suggest::closest(name, known) }
}

/// Every region exists, and devices of one program only reach it.
fn regions(manifest: &Manifest) -> Found<()> {
    let mut masters: BTreeMap<&str, &str> = BTreeMap::new();
    each(manifest, |program| {
        let mut seen: Vec<&String> = Vec::new();
        for kind in GrantKind::MEMORY {
            for name in program.names(kind) {
                let place = at(program, kind.word());
                if manifest.region(name).is_none() {
                    return Err((place, no_region(manifest, name)));
                }
                if seen.contains(&name) {
                    return Err((place, Problem::TwoRights(name.clone())));
                }
                seen.push(name);
            }
        }
        Ok(())
    })?;
    for program in &manifest.programs {
        for name in &program.dma {
            let place = at(program, "dma");
            // Who finds devices drives the IOMMU, whose tables the IOMMU reads.
            if program.devices.is_empty() && !program.calls.iter().any(|name| name == DEVICES) {
                return Err((place, Problem::DmaWithoutDevices(name.clone())));
            }
            if let Some(other) = masters.insert(name, &program.name) {
                let (name, other) = (name.clone(), other.into());
                return Err((place, Problem::ResourceTaken { name, other }));
            }
        }
    }
    Ok(())
}

/// Every name in a list is a resource that has such a thing, and nobody else's.
fn granted(
    manifest: &Manifest,
    key: &'static str,
    list: impl Fn(&ProgramSpec) -> &Vec<String>,
    has: impl Fn(&Resource) -> bool,
) -> Found<()> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for program in &manifest.programs {
        for name in list(program) {
            let problem = match manifest.resource(name) {
                None => no_resource(manifest, name),
                Some(resource) if !has(resource) => {
                    let lacks = if key == "ports" { "ports" } else { "irq" };
                    Problem::ResourceLacks { name: name.clone(), lacks }
                }
                Some(_) => match owners.insert(name, &program.name) {
                    None => continue,
                    Some(other) => {
                        Problem::ResourceTaken { name: name.clone(), other: other.into() }
                    }
                },
            };
            return Err((at(program, key), problem));
        }
    }
    Ok(())
}

fn no_resource(manifest: &Manifest, name: &str) -> Problem {
    let known = manifest.resources.iter().map(|resource| resource.name.as_str());
    Problem::NoResource { name: name.into(), suggestion: suggest::closest(name, known) }
}

/// Two resources with common ports would give one device to two drivers.
fn overlaps(manifest: &Manifest) -> Found<()> {
    let with_ports: Vec<(&str, PortRange)> = manifest
        .resources
        .iter()
        .filter_map(|resource| Some((resource.name.as_str(), resource.ports?)))
        .collect();
    for (index, (name, range)) in with_ports.iter().enumerate() {
        let common = |(_, other): &&(&str, PortRange)| {
            other.first <= range.last && range.first <= other.last
        };
        if let Some((other, _)) = with_ports[..index].iter().find(common) {
            let problem = Problem::ResourceTaken { name: "ports".into(), other: (*other).into() };
            return Err((Place::resource(name).key("ports"), problem));
        }
    }
    Ok(())
}
