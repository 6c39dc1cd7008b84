//! The host's share, with a directory of this program's at the other end.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use super::lab::Lab;
use super::session::{Session, SessionError};
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::{Iommu, Machine, Network, NicChoice, Share};

pub(crate) const TESTS: [Test; 5] = [
    ("share::files_are_listed_read_and_written", files),
    ("share::no_path_leads_out", escapes),
    ("share::a_document_of_a_mebibyte_reaches_the_host_whatever_dies", document),
    ("share::a_driver_that_dies_is_told_of_and_comes_back", restart),
    ("share::a_machine_without_one_says_so", absent),
];

/// The longest document that is fetched without a further word.
const DOCUMENT: usize = 1 << 20;

/// A machine with an empty directory of this name.
fn machine(lab: &Lab<'_>, name: &str) -> Result<(Machine, PathBuf), Failure> {
    let place = lab.place(name);
    let directory = empty(&place.join("share")).map_err(SessionError::from)?;
    let share = Share::new(&directory).map_err(|error| unexpected(error.to_string(), ""))?;
    Ok((Machine { share: Some(share), ..lab.machine() }, directory))
}

pub(super) fn empty(directory: &Path) -> io::Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    Ok(directory.to_path_buf())
}

fn holds(file: &Path, wanted: &[u8]) -> Outcome {
    match fs::read(file) {
        Ok(bytes) if bytes == wanted => Ok(()),
        Ok(bytes) => {
            let (got, wanted) = (bytes.len(), wanted.len());
            Err(unexpected(format!("{got} bytes that are not the {wanted} wanted"), ""))
        }
        Err(error) => Err(unexpected(format!("{}: {error}", file.display()), "")),
    }
}

/// With an IOMMU, which the device then obeys.
fn files(lab: &Lab<'_>) -> Outcome {
    let (machine, directory) = machine(lab, "share-files")?;
    let put = |path: &str, text: &str| fs::write(directory.join(path), text);
    put("note.txt", "from the host\n").map_err(SessionError::from)?;
    let mut session = Session::at_prompt(&Machine { iommu: Iommu::Present, ..machine })?;
    contains(&session.run("share ls")?, &["14 B", "file  note.txt"])?;
    contains(&session.run("share get note.txt")?, &["from the host"])?;
    contains(
        &session.run("share mkdir d; share put d/answer from the machine; share ls")?,
        &["d"],
    )?;
    holds(&directory.join("d/answer"), b"from the machine\n")?;
    session.run("share put d/answer short")?;
    holds(&directory.join("d/answer"), b"short\n")?;
    contains(&session.run("share get none")?, &["no such file or directory (ENOENT)"])?;
    contains(&session.run("share rm d")?, &["directory not empty (ENOTEMPTY)"])?;
    session.run("share rm d/answer; share rm d; share rm note.txt")?;
    let left = fs::read_dir(&directory).map_err(SessionError::from)?.count();
    if left == 0 { Ok(()) } else { Err(unexpected("not everything was removed", "")) }
}

/// Neither by names nor by the host's links.
fn escapes(lab: &Lab<'_>) -> Outcome {
    const SECRET: &str = "not shared";
    let (machine, directory) = machine(lab, "share-escapes")?;
    let prepare = || {
        fs::write(directory.join("../secret"), SECRET)?;
        std::os::unix::fs::symlink("../secret", directory.join("link"))?;
        std::os::unix::fs::symlink("..", directory.join("up"))
    };
    prepare().map_err(SessionError::from)?;
    let mut session = Session::at_prompt(&machine)?;
    for (line, says) in [
        ("share get ../secret", "not a path within the host's share"),
        ("share get /up/../../secret", "not a path within the host's share"),
        ("share put ../secret x", "not a path within the host's share"),
        ("share get link", "(E"),
        ("share get up/secret", "(E"),
        ("share put link x", "(E"),
        ("share ls up", "(E"),
    ] {
        let said = session.run(line)?;
        contains(&said, &[says])?;
        if said.contains(SECRET) {
            return Err(unexpected(format!("`{line}` leads out"), &said));
        }
    }
    holds(&directory.join("../secret"), SECRET.as_bytes())
}

/// A document goes from a web server into the share, while the driver is killed in the middle of it.
fn document(lab: &Lab<'_>) -> Outcome {
    let (machine, directory) = machine(lab, "share-document")?;
    let network = Network::new(NicChoice::Virtio);
    let document: Vec<u8> = (0u32..).flat_map(u32::to_le_bytes).take(DOCUMENT).collect();
    let port = serve(document.clone(), 2).map_err(SessionError::from)?;
    let mut session = Session::at_prompt(&Machine { network, ..machine })?;
    let fetch = |path: &str| format!("fetch -o {path} http://10.0.2.2:{port}/");
    let told = session.run(&fetch("whole"))?;
    contains(&told, &[" KiB", "1048576 bytes, in whole"])?;
    holds(&directory.join("whole"), &document)?;
    let told = session.run(&format!("kill --after 20 share; {}", fetch("again")))?;
    contains(&told, &["1048576 bytes, in again"])?;
    holds(&directory.join("again"), &document)?;
    was_restarted(&mut session)
}

/// Serves a document over HTTP, so many times.
fn serve(document: Vec<u8>, times: usize) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || -> io::Result<()> {
        for stream in listener.incoming().take(times) {
            let (mut stream, mut request) = (stream?, Vec::new());
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                request.extend(byte);
            }
            let length = document.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            stream.write_all(&document)?;
        }
        Ok(())
    });
    Ok(port)
}

/// What must not be done twice fails with the driver, and says so; then everything works again.
fn restart(lab: &Lab<'_>) -> Outcome {
    let (machine, directory) = machine(lab, "share-restart")?;
    fs::write(directory.join("note.txt"), "still there\n").map_err(SessionError::from)?;
    let mut session = Session::at_prompt(&machine)?;
    contains(&session.run("share get note.txt")?, &["still there"])?;
    let told = session.run("kill --after 1 share; share rm note.txt")?;
    contains(&told, &["the server was restarted during the call"])?;
    contains(&session.run("share get note.txt")?, &["still there"])?;
    was_restarted(&mut session)?;
    contains(&session.run("kill share; share get note.txt")?, &["still there"])
}

fn was_restarted(session: &mut Session) -> Outcome {
    let svc = session.run("svc")?;
    let row = svc.lines().find(|line| line.starts_with("share")).unwrap_or_default();
    match row.contains("running") && row.split_whitespace().any(|word| word == "1") {
        true => Ok(()),
        false => Err(unexpected("the driver was not started again, once", &svc)),
    }
}

fn absent(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    contains(&session.run("share ls")?, &["the host shares no directory with this machine"])?;
    let log = session.run("log -n 60")?;
    let complains = |line: &&str| {
        line.contains("share") && [" warn ", " error "].iter().any(|level| line.contains(level))
    };
    match log.lines().find(complains) {
        Some(line) => Err(unexpected("the log complains", line)),
        None => Ok(()),
    }
}
