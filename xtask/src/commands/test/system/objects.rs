//! Persistent objects: there after the next start, whole wherever the machine was switched off.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::lab::{Lab, LabError};
use super::nvdimm::of_size;
use super::script::output_of;
use super::session::{Session, SessionError};
use super::share::empty;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::progress;
use crate::vm::{Arming, Machine, Persistence, Pmem, Share};

pub(crate) const TESTS: [Test; 14] = [
    ("objects::are_there_after_the_next_start", kept),
    ("objects::are_there_when_their_server_is_back", restarted),
    ("objects::are_searched_where_they_lie", searched),
    ("objects::have_snapshots_that_nobody_changes", snapshots),
    ("objects::are_volatile_where_nothing_lasts", volatile),
    ("objects::of_both_tiers_are_side_by_side", tiers),
    ("objects::are_made_of_the_hosts_files_and_back", transferred),
    ("objects::are_had_though_somebody_stalls", stalled),
    ("objects::are_read_where_they_could_not_be_written", unarmed),
    ("objects::leave_alone_what_is_not_theirs", foreign),
    ("objects::are_as_large_as_64_gib", large),
    ("objects::have_the_room_of_those_that_are_deleted", full),
    ("objects::are_whole_wherever_the_machine_was_switched_off", switched_off),
    ("objects::are_whole_where_the_caches_are_saved", switched_off_with_caches_saved),
];

/// How often the machine is switched off in the middle of work.
const TIMES: u64 = 50;
/// The same where the platform saves the caches, where less can be lost.
const TIMES_SAVED: u64 = 10;
/// Transfers between two looks of the test, at most.
const MOST: u64 = 12;
/// Repeats a course.
const SEED: &str = "D3OS_SEED";

fn kept(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "objects.pmem", "64M", Persistence::Adr)?;
    let run = |name: &str, lines: &str| -> Result<String, Failure> {
        output_of(&lab.script(name, lines)?.with_pmem(pmem.clone())?)
    };
    let lines = "obj new notes; obj put notes 'hello'; obj mkdir d; obj link notes d/n; obj ls";
    contains(&run("objects-1", lines)?, &["Text", "notes", "directory"])?;
    let again =
        run("objects-2", "obj get notes; obj show d/n; obj rm notes; pmem check; obj ls d")?;
    contains(&again, &["hello", "Text {", "nothing is damaged", " n"])
}

fn restarted(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "restarted.pmem", "64M", Persistence::Eadr)?;
    let mut session = session(lab, &pmem)?;
    session.run("obj new notes")?;
    session.run("obj put notes 'as it was'")?;
    contains(&session.run("kill pmem")?, &["`pmem` was ended"])?;
    contains(&session.run("obj get notes")?, &["as it was"])?;
    contains(&session.run("obj get absent")?, &["there is no such name"])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])?;
    contains(&session.run("trace pmem")?, &["opened the pool, recovered"])
}

/// Also while their server dies.
fn searched(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "searched.pmem", "64M", Persistence::Adr)?;
    let mut session = session(lab, &pmem)?;
    session.run("obj new notes; obj put notes 'to be or not to be'; obj mkdir d")?;
    let found = session.run("obj search notes 'to be'; obj count notes o")?;
    let told = ["at byte 0", "at byte 13", "2 places in 18 bytes of text", "4 places in 18 bytes"];
    contains(&found, &told)?;
    let died = session.run("kill --after 1 pmem; obj count notes t")?;
    contains(&died, &["3 places in 18 bytes of text"])?;
    contains(&session.run("obj reduce notes sum")?, &["18 bytes are no whole words"])?;
    session.run("obj put notes aaaaaaaabbbbbbbb")?;
    let least = session.run("obj reduce notes least")?;
    contains(&least, &["7016996765293437281 is the least of 2 words of text"])?;
    contains(&session.run("obj count d x")?, &["it is a directory"])?;
    contains(&session.run("obj ls; pmem check")?, &["notes", "nothing is damaged"])?;
    contains(&session.run("trace pmem")?, &["worked on 16 bytes", "bytes worked on"])
}

/// The second snapshot gets its contents when the object is opened to be changed, the third one in another
/// start, when it is read.
fn snapshots(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "snapshots.pmem", "64M", Persistence::Adr)?;
    let mut session = session(lab, &pmem)?;
    session.run("obj new notes; obj put notes 'first'; obj snap notes one; obj snap notes same")?;
    session.run("obj put notes 'second'; obj snap notes two")?;
    contains(&session.run("obj get one")?, &["first"])?;
    contains(&session.run("obj stat same")?, &["snapshot"])?;
    let refused = "it is a snapshot, which nobody changes";
    contains(&session.run("obj put one 'third'")?, &[refused])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])?;
    drop(session);
    let lines = "obj get two; obj get same; obj rm notes; obj get one; obj rm one; obj rm two; \
                 obj get same; pmem check; obj ls";
    let told = output_of(&lab.script("snapshots", lines)?.with_pmem(pmem)?)?;
    contains(&told, &["second", "first", "nothing is damaged", "same"])
}

/// Without an NVDIMM objects lie in RAM: they are used in the same way, and outlive their server, but not the
/// machine. A large one is made, too, and its pages are free again when it is gone.
fn volatile(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.run("obj new notes; obj put notes 'hello'; obj mkdir d; obj link notes d/n")?;
    let told = session.run("obj ls")?;
    contains(&told, &["volatile", "notes", "lost when the machine is switched off"])?;
    contains(&session.run("obj get d/n")?, &["hello"])?;
    contains(&session.run("pmem")?, &["nothing: the objects lie in RAM"])?;
    session
        .run("obj new large 4M; obj put large 'far'; obj snap large kept; obj put large 'new'")?;
    contains(&session.run("obj get kept; obj get large")?, &["far", "new"])?;
    session.run("kill pmem")?;
    contains(
        &session.run("obj get notes; obj get kept; pmem check")?,
        &["hello", "far", "nothing is damaged"],
    )?;
    session.run("obj rm large; obj rm kept; obj rm d/n; obj rm d; obj rm notes")?;
    contains(&session.run("pmem check; pmem")?, &["nothing is damaged", "volatile"])?;
    drop(session);
    let told = Session::at_prompt(&lab.machine())?.run("obj ls")?;
    match told.contains("notes") {
        true => Err(unexpected("RAM has outlived the machine", &told)),
        false => Ok(()),
    }
}

/// With an NVDIMM, too, there are volatile objects, of which nothing is there after the next start; they outlive
/// their server.
fn tiers(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "tiers.pmem", "64M", Persistence::Adr)?;
    let mut session = session(lab, &pmem)?;
    session.run("obj mkdir d; obj new d/kept; obj put d/kept 'for good'")?;
    session.run("obj new --volatile d/lost 1M; obj put d/lost 'for now'")?;
    let told = session.run("obj ls d")?;
    contains(&told, &["persistent", "kept", "volatile", "lost when the machine is switched off"])?;
    contains(&session.run("obj get d/kept; obj get d/lost")?, &["for good", "for now"])?;
    contains(&session.run("obj new --volatile d/kept; obj new d/lost")?, &["the name is taken"])?;
    contains(
        &session.run("obj mv d/lost d/other; obj snap d/other s; obj stat s")?,
        &["volatile"],
    )?;
    session.run("kill pmem")?;
    contains(&session.run("obj get s; obj get d/kept")?, &["for now", "for good"])?;
    contains(&session.run("pmem check; pmem")?, &["nothing is damaged", "the objects lie in RAM"])?;
    drop(session);
    let mut session = self::session(lab, &pmem)?;
    contains(&session.run("obj get d/kept; pmem check")?, &["for good", "nothing is damaged"])?;
    let told = session.run("obj ls; obj ls d")?;
    match told.contains("volatile") || told.contains("other") {
        true => Err(unexpected("RAM has outlived the machine", &told)),
        false => Ok(()),
    }
}

/// A directory of the host becomes objects, and they become files again, while the driver of the share and
/// the server die.
fn transferred(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "transferred.pmem", "64M", Persistence::Adr)?;
    let directory = empty(&lab.place("transferred").join("share")).map_err(SessionError::from)?;
    let data: Vec<u8> = (0_u32..75_000).flat_map(u32::to_le_bytes).collect();
    let put = || {
        fs::create_dir_all(directory.join("in/sub"))?;
        fs::write(directory.join("in/note.txt"), "from the host\n")?;
        fs::write(directory.join("in/empty"), "")?;
        fs::write(directory.join("in/sub/data"), &data)
    };
    put().map_err(SessionError::from)?;
    let share = Share::new(&directory).map_err(|error| unexpected(error.to_string(), ""))?;
    let machine = Machine { share: Some(share), ..lab.machine() }.with_pmem(pmem)?;
    let mut session = Session::at_prompt(&machine)?;
    let told = session.run("kill --after 40 share; obj import copy in")?;
    contains(&told, &["copy/empty: 0 B", "copy/note.txt: 14 B", "copy/sub/data: 292.9 KiB"])?;
    contains(&told, &["copy/sub/data: 128 KiB of 292.9 KiB"])?;
    contains(&session.run("obj get copy/note.txt")?, &["from the host"])?;
    // Words of 32 bits, two in each of 64.
    let greatest = (u64::from(74_999_u32) << 32) + 74_998;
    let told = session.run("obj reduce copy/sub/data greatest")?;
    contains(&told, &[&format!("{greatest} is the greatest of 37500 words of a file")])?;
    let told = session.run("kill --after 30 pmem; obj export copy out")?;
    contains(&told, &["out/note.txt: 14 B", "out/sub/data: 292.9 KiB"])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])?;
    match fs::read(directory.join("out/sub/data")) {
        Ok(bytes) if bytes == data => Ok(()),
        Ok(_) => Err(unexpected("the file has changed on its way", "")),
        Err(error) => Err(SessionError::from(error).into()),
    }
}

/// One program holds an object and does nothing with it; another one waits, and gets it. The first one is told by an
/// error, and goes on when it has begun anew.
fn stalled(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "stalled.pmem", "64M", Persistence::Adr)?;
    let mut session = crash_session(lab, &pmem)?;
    contains(&session.run("run ledger 3")?, &["committed 3."])?;
    session.keys("run ledger-2 stall &\r")?;
    session.text("holds the journal")?;
    // What it prints stands in the prompt's row.
    session.keys("\rrun ledger 3\r")?;
    let told = "stalled: the session was put out: it held an object while others waited";
    session.wait("all transfers, and its error", |screen| {
        let text = screen.text();
        [told, "committed 4.", "committed 7."].iter().all(|part| text.contains(part))
    })?;
    session.keys("\r")?;
    contains(&session.run("run ledger check")?, &["7 transfers, all of them whole"])?;
    contains(&session.run("trace pmem")?, &["1  sessions put out"])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])
}

/// Memory that is not armed is read: objects are shown as they are, and nothing is written, of whichever
/// kind.
fn unarmed(lab: &Lab<'_>) -> Outcome {
    let armed = of_size(lab, "unarmed-objects.pmem", "64M", Persistence::Adr)?;
    let unarmed = Pmem { arming: Arming::Unarmed, ..armed.clone() };
    let mut session = session(lab, &unarmed)?;
    contains(&session.run("obj ls")?, &["there is no pool: the memory is empty"])?;
    contains(&session.run("pmem init --force")?, &[REFUSED])?;
    drop(session);
    let lines = "obj new notes; obj put notes 'as it was'; obj mkdir d; obj link notes d/n";
    output_of(&lab.script("unarmed", lines)?.with_pmem(armed.clone())?)?;
    let before = contents(&armed.file)?;
    reads_and_writes_nothing(&mut self::session(lab, &unarmed)?)?;
    if contents(&armed.file)? != before {
        return Err(unexpected("something was written", ""));
    }
    let again =
        output_of(&lab.script("armed", "obj put notes anew; obj get notes")?.with_pmem(armed)?)?;
    contains(&again, &["anew"])
}

const REFUSED: &str = "the memory is not armed: what is written would be lost";

fn reads_and_writes_nothing(session: &mut Session) -> Outcome {
    contains(&session.run("obj get d/n")?, &["as it was"])?;
    contains(&session.run("obj show notes")?, &["Text {"])?;
    contains(&session.run("pmem")?, &["read only: the memory is not armed"])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])?;
    let refused =
        ["obj put notes x", "obj new more", "obj mkdir e", "obj rm notes", "obj mv notes m"];
    let more = ["obj link notes l", "obj snap notes s", "pmem repair", "pmem init --force"];
    for line in refused.into_iter().chain(more) {
        contains(&session.run(line)?, &[REFUSED])?;
    }
    contains(&session.run("obj ls")?, &["notes", "directory"])
}

fn foreign(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "foreign.pmem", "64M", Persistence::Adr)?;
    let mut bytes = contents(&pmem.file)?;
    bytes[0x12_3456] = 7;
    fs::write(&pmem.file, &bytes)
        .map_err(|source| LabError::Read { path: pmem.file.clone(), source })?;
    let mut session = session(lab, &pmem)?;
    let named = "the memory holds somebody else's data: the byte at 0x123456 is not zero";
    contains(&session.run("obj ls")?, &[named])?;
    contains(&session.run("pmem init")?, &[named])?;
    if contents(&pmem.file)? != bytes {
        return Err(unexpected("somebody else's data was changed", ""));
    }
    contains(&session.run("pmem init --force")?, &["made a pool of 64 MiB"])?;
    contains(&session.run("pmem check")?, &["nothing is damaged"])
}

/// On a sparse NVDIMM of 128 GiB, an object of 64 GiB is made, written at its beginning, middle and end, read in the
/// next start, and deleted. The file takes what is written only.
fn large(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "large-objects.pmem", "128G", Persistence::Adr)?;
    let done = large_on(lab, &pmem);
    let removed = fs::remove_file(&pmem.file);
    done.and(removed.map_err(|source| LabError::Read { path: pmem.file, source }.into()))
}

fn large_on(lab: &Lab<'_>, pmem: &Pmem) -> Outcome {
    let mut session = crash_session(lab, pmem)?;
    let unsearched = "nobody has looked whether all 128 GiB of the memory are empty";
    contains(&session.run("obj ls")?, &[unsearched])?;
    contains(&session.run("pmem init --empty")?, &["made a pool of 128 GiB"])?;
    session.run("obj new notes; obj put notes 'small'")?;
    contains(&session.run("run ledger vast")?, &["64 GiB made and written"])?;
    contains(&session.run("run ledger vast check; obj ls")?, &["the words are there", "63.9 GiB"])?;
    drop(session);
    let mut session = crash_session(lab, pmem)?;
    contains(&session.run("run ledger vast check")?, &["the words are there"])?;
    let held = session.run("mem exact")?;
    session.run("kill pmem")?;
    contains(&session.run("run ledger vast check; obj get notes")?, &["are there", "small"])?;
    let after = session.run("mem exact")?;
    if held != after {
        return Err(unexpected(format!("not held as before: {held}"), &after));
    }
    contains(&session.run("pmem check")?, &["nothing is damaged"])?;
    session.run("obj rm vast")?;
    contains(&session.run("pmem check; obj get notes")?, &["nothing is damaged", "small"])
}

/// A pool that is full says so, keeps what is in it, and has room again when something is deleted.
fn full(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "full.pmem", "16M", Persistence::Adr)?;
    let mut session = session(lab, &pmem)?;
    session.run("obj new notes")?;
    session.run("obj put notes 'as it was'")?;
    session.run("obj new large 8M")?;
    let refused = "the pool is full: no 2048 pages in one piece are free";
    contains(&session.run("obj new larger 8M")?, &[refused])?;
    // What is left is given out, down to the last four pages in one piece.
    for size in [4096_u32, 2048, 1024, 512, 256, 128, 64, 32, 16] {
        session.run(&format!("obj new rest-{size} {size}K"))?;
    }
    contains(&session.run("obj new last 16K")?, &["the pool is full"])?;
    contains(&session.run("obj get notes; pmem check")?, &["as it was", "nothing is damaged"])?;
    session.run("obj rm large")?;
    session.run("obj new again 8M")?;
    contains(&session.run("obj ls; pmem check")?, &["again", "nothing is damaged"])?;
    let again = output_of(&lab.script("full", "obj get notes; pmem check")?.with_pmem(pmem)?)?;
    contains(&again, &["as it was", "nothing is damaged"])
}

/// A program transfers money between accounts, each of them an object; the machine is switched off at
/// random moments of that, and of its start. What the program told as committed is there then, all
/// objects agree, and the pool is whole.
fn switched_off(lab: &Lab<'_>) -> Outcome {
    switched_off_times(lab, "crash.pmem", (TIMES, Persistence::Adr))
}

fn switched_off_with_caches_saved(lab: &Lab<'_>) -> Outcome {
    switched_off_times(lab, "crash-saved.pmem", (TIMES_SAVED, Persistence::Eadr))
}

fn switched_off_times(
    lab: &Lab<'_>,
    name: &str,
    (times, persistence): (u64, Persistence),
) -> Outcome {
    let seed = seed();
    progress::step(&format!("objects: seed {seed} ({SEED} repeats it)"));
    let mut random = fastrand::Rng::with_seed(seed);
    let pmem = of_size(lab, name, "64M", persistence)?;
    let (mut known, mut at_work) = (0, 0);
    for _ in 0..times {
        let mut session = crash_session(lab, &pmem)?;
        if random.u8(..8) == 0 {
            // While it recovers, or soon after.
            continue;
        }
        known = checked(&mut session, known)?;
        session.keys("run ledger\r")?;
        let goal = known + random.u64(1..=MOST);
        session.wait("transfers", |screen| committed(&screen.text()) >= goal)?;
        known = known.max(committed(&session.screen().text()));
        at_work += 1;
    }
    is_left_alone_unarmed(lab, &pmem)?;
    let mut session = crash_session(lab, &pmem)?;
    let transfers = checked(&mut session, known)?;
    progress::step(&format!(
        "objects: switched off {times} times, {at_work} of them at work; {transfers} transfers are whole"
    ));
    Ok(())
}

/// What was switched off at work is recovered where it can be written; until then nothing is guessed.
fn is_left_alone_unarmed(lab: &Lab<'_>, pmem: &Pmem) -> Outcome {
    let mut session = crash_session(lab, pmem)?;
    session.keys("run ledger\r")?;
    session.wait("transfers", |screen| committed(&screen.text()) > 0)?;
    drop(session);
    let before = contents(&pmem.file)?;
    let unarmed = Pmem { arming: Arming::Unarmed, ..pmem.clone() };
    let mut session = crash_session(lab, &unarmed)?;
    let told = session.run("obj ls")?;
    contains(&told, &["the pool has to be recovered, for which the memory has to be armed"])?;
    match contents(&pmem.file)? == before {
        true => Ok(()),
        false => Err(unexpected("something was written", "")),
    }
}

fn crash_session(lab: &Lab<'_>, pmem: &Pmem) -> Result<Session, Failure> {
    let machine = lab.machine_with(lab.crash()?).with_pmem(pmem.clone())?;
    Ok(Session::at_prompt(&machine)?)
}

/// That everything is whole; tells how many transfers there were, at least as many as `known`.
fn checked(session: &mut Session, known: u64) -> Result<u64, Failure> {
    if !session.run("pmem check")?.contains("nothing is damaged") {
        return Err(unexpected("the pool is not whole", &session.screen().text()));
    }
    let told = session.run("run ledger check")?;
    let words = told.split_whitespace().zip(told.split_whitespace().skip(1));
    let transfers = words
        .filter(|(_, next)| next.starts_with("transfers"))
        .find_map(|(number, _)| number.parse::<u64>().ok());
    match transfers.filter(|transfers| *transfers >= known) {
        Some(transfers) => Ok(transfers),
        None => Err(unexpected(format!("{known} transfers were committed"), &told)),
    }
}

/// The last transfer that is told on the screen.
fn committed(screen: &str) -> u64 {
    let told = screen.split("committed ").skip(1);
    let numbers = told.filter_map(|rest| rest.split_once('.')?.0.parse().ok());
    numbers.max().unwrap_or(0)
}

fn session(lab: &Lab<'_>, pmem: &Pmem) -> Result<Session, Failure> {
    Ok(Session::at_prompt(&lab.machine().with_pmem(pmem.clone())?)?)
}

fn contents(file: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(file).map_err(|source| LabError::Read { path: file.into(), source })?)
}

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or(now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_transfer_told_is_found() {
        assert_eq!(committed("d3os> run ledger\ncommitted 9.\ncommitted 10.\ncommitted 1"), 10);
        assert_eq!(committed("d3os> "), 0);
    }
}
