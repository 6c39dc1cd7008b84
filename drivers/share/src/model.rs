//! The host for the tests: virtio's model of a device, and behind it a tree of files in memory that
//! is served as the protocol's description says. It reads and writes messages by itself, so that a
//! mistake in `wire` is not made twice.

use std::collections::BTreeMap;

use libd3os::dma::Dma;
use virtio::model::{self, Behind};
use virtio::regs::Features;

use crate::regs::MOUNT_TAG;

const ENOENT: u32 = 2;
const EBADF: u32 = 9;
const EEXIST: u32 = 17;
const ENOTDIR: u32 = 20;
const EISDIR: u32 = 21;
const ENOTEMPTY: u32 = 39;
const ELOOP: u32 = 40;

/// What is behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(Vec<u8>),
    Directory,
    Link,
}

/// Files by their paths; the shared directory is the empty one.
pub(crate) type Tree = BTreeMap<Vec<String>, Node>;

/// What a lying host does to its answers.
pub(crate) type Twist = Box<dyn FnMut(&mut Vec<u8>)>;

/// A host at whose files the test looks.
pub(crate) struct Host<'m> {
    pub(crate) device: model::Device<'m>,
    pub(crate) tree: Tree,
    /// Files that the driver has numbers for, and whether they are open.
    pub(crate) fids: BTreeMap<u32, (Vec<String>, bool)>,
    /// Kinds of the messages that came.
    pub(crate) heard: Vec<u8>,
    /// Bytes of the longest message that it wants.
    pub(crate) longest: u32,
    /// Bytes that it takes of a write at most.
    pub(crate) takes: usize,
    /// It changes its answers before they go.
    pub(crate) twist: Option<Twist>,
    /// It does not answer for now.
    pub(crate) silent: bool,
}

impl<'m> Host<'m> {
    pub(crate) fn new(memory: Dma<'m>, offers: Features) -> Self {
        let mut device = model::Device::new(memory, offers | MOUNT_TAG, &[128]);
        device.configuration = b"\x04\x00host".to_vec();
        let tree = Tree::from([(Vec::new(), Node::Directory)]);
        Self {
            device,
            tree,
            fids: BTreeMap::new(),
            heard: Vec::new(),
            longest: 1 << 20,
            takes: usize::MAX,
            twist: None,
            silent: false,
        }
    }

    /// Puts something into the tree, its directories included.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let names: Vec<String> = path.split('/').map(String::from).collect();
        for end in 1..names.len() {
            self.tree.insert(names[..end].to_vec(), Node::Directory);
        }
        self.tree.insert(names, node);
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        let names: Vec<String> = path.split('/').map(String::from).collect();
        match self.tree.get(&names)? {
            Node::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Answers what the driver has asked.
    pub(crate) fn serve(&mut self) {
        while let Some(chain) = self.device.pop(0) {
            let (asked, room): (Vec<_>, Vec<_>) =
                chain.parts.iter().partition(|part| !part.writable);
            let request: Vec<u8> = asked.iter().flat_map(|part| self.device.read(*part)).collect();
            let mut answer = self.answer(&request);
            if let Some(twist) = &mut self.twist {
                twist(&mut answer);
            }
            answer.truncate(room.iter().map(|part| part.bytes as usize).sum());
            let mut rest = answer.as_slice();
            for part in room {
                let (now, later) = rest.split_at(rest.len().min(part.bytes as usize));
                self.device.write(part, now);
                rest = later;
            }
            let bytes = u32::try_from(answer.len()).expect("short");
            self.device.push(0, chain.head, bytes);
        }
    }

    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let mut message = Message(request);
        assert_eq!(message.u32() as usize, request.len(), "the size of a request");
        let (kind, tag) = (message.u8(), message.u16());
        self.heard.push(kind);
        assert_eq!(tag == u16::MAX, kind == 100, "only a version request has no tag");
        let (kind, body) = match self.perform(kind, &mut message) {
            Ok(body) => (kind + 1, body),
            Err(errno) => (7, errno.to_le_bytes().to_vec()),
        };
        assert!(message.0.is_empty(), "more than the request has: {kind}");
        let size = u32::try_from(7 + body.len()).expect("short").to_le_bytes();
        [&size[..], &[kind], &tag.to_le_bytes(), &body].concat()
    }

    fn perform(&mut self, kind: u8, message: &mut Message<'_>) -> Result<Vec<u8>, u32> {
        match kind {
            100 => {
                let longest = message.u32().min(self.longest);
                assert_eq!(message.text(), "9P2000.L");
                self.fids.clear();
                Ok([&longest.to_le_bytes()[..], b"\x08\x009P2000.L"].concat())
            }
            104 => {
                let (fid, _, _, _, _) =
                    (message.u32(), message.u32(), message.text(), message.text(), message.u32());
                self.fids.insert(fid, (Vec::new(), false));
                Ok(self.identity(&[]))
            }
            110 => self.walk(message),
            120 => {
                let fid = message.u32();
                self.fids.remove(&fid).map(|_| Vec::new()).ok_or(ENOENT)
            }
            76 => self.unlink(message),
            72 => {
                let (fid, name) = (message.u32(), message.text());
                let (_, _) = (message.u32(), message.u32());
                let path = self.child(fid, &name)?;
                self.add(path.clone(), Node::Directory)?;
                Ok(self.identity(&path))
            }
            14 => {
                let (fid, name, how) = (message.u32(), message.text(), message.u32());
                let (_, _) = (message.u32(), message.u32());
                assert_eq!(how & !0o203, 0, "flags");
                let path = self.child(fid, &name)?;
                self.add(path.clone(), Node::File(Vec::new()))?;
                self.fids.insert(fid, (path.clone(), true));
                Ok([self.identity(&path), vec![0; 4]].concat())
            }
            12 => self.open(message),
            24 => {
                let fid = message.u32();
                assert_eq!(message.u64(), 0x221);
                self.status(fid)
            }
            _ => self.transfer(kind, message),
        }
    }

    fn transfer(&mut self, kind: u8, message: &mut Message<'_>) -> Result<Vec<u8>, u32> {
        let fid = message.u32();
        let (path, is_open) = self.known(fid)?;
        self.insist(is_open, "an open file")?;
        if kind == 50 {
            message.u32();
            return Ok(Vec::new());
        }
        let (offset, count) = (message.u64(), message.u32() as usize);
        if kind == 40 {
            return Ok(counted(self.entries(&path, offset, count)));
        }
        let Some(Node::File(bytes)) = self.tree.get_mut(&path) else { return Err(EISDIR) };
        let offset = usize::try_from(offset).expect("within this machine");
        if kind == 116 {
            let rest = bytes.get(offset..).unwrap_or_default();
            return Ok(counted(rest[..rest.len().min(count)].to_vec()));
        }
        assert_eq!(kind, 118, "a request that is known");
        let data = message.take(count);
        let data = &data[..data.len().min(self.takes)];
        bytes.resize(bytes.len().max(offset + data.len()), 0);
        bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(u32::try_from(data.len()).expect("short").to_le_bytes().to_vec())
    }

    fn walk(&mut self, message: &mut Message<'_>) -> Result<Vec<u8>, u32> {
        let (from, to, count) = (message.u32(), message.u32(), message.u16());
        let names: Vec<String> = (0..count).map(|_| message.text()).collect();
        assert!(names.len() <= 16, "too many names");
        let (mut path, is_open) = self.known(from)?;
        self.insist(!is_open, "no walk from an open file")?;
        self.insist(from == to || !self.fids.contains_key(&to), "a number that is free")?;
        let mut identities = Vec::new();
        for name in &names {
            assert!(!["", ".", ".."].contains(&name.as_str()) && !name.contains('/'), "{name}");
            if self.tree.get(&path) != Some(&Node::Directory) {
                break;
            }
            path.push(name.clone());
            if !self.tree.contains_key(&path) {
                break;
            }
            identities.push(self.identity(&path));
        }
        if identities.is_empty() && !names.is_empty() {
            return Err(ENOENT);
        }
        if identities.len() == names.len() {
            self.fids.insert(to, (path, false));
        }
        let count = u16::try_from(identities.len()).expect("few").to_le_bytes();
        Ok([&count[..], &identities.concat()].concat())
    }

    fn open(&mut self, message: &mut Message<'_>) -> Result<Vec<u8>, u32> {
        let (fid, how) = (message.u32(), message.u32());
        let (path, _) = self.known(fid)?;
        match self.tree.get_mut(&path).ok_or(ENOENT)? {
            Node::Link => return Err(ELOOP),
            Node::Directory if how & 3 != 0 => return Err(EISDIR),
            Node::File(bytes) if how & 0o1000 != 0 => bytes.clear(),
            _ => {}
        }
        self.fids.insert(fid, (path.clone(), true));
        Ok([self.identity(&path), vec![0; 4]].concat())
    }

    fn unlink(&mut self, message: &mut Message<'_>) -> Result<Vec<u8>, u32> {
        let (fid, name, how) = (message.u32(), message.text(), message.u32());
        let path = self.child(fid, &name)?;
        let is_directory = self.tree.get(&path).ok_or(ENOENT)? == &Node::Directory;
        if is_directory != (how & 0x200 != 0) {
            return Err(if is_directory { EISDIR } else { ENOTDIR });
        }
        if self.tree.keys().any(|other| other.len() > path.len() && other.starts_with(&path)) {
            return Err(ENOTEMPTY);
        }
        self.tree.remove(&path);
        Ok(Vec::new())
    }

    fn add(&mut self, path: Vec<String>, node: Node) -> Result<(), u32> {
        match self.tree.contains_key(&path) {
            true => Err(EEXIST),
            false => {
                self.tree.insert(path, node);
                Ok(())
            }
        }
    }

    fn child(&self, fid: u32, name: &str) -> Result<Vec<String>, u32> {
        let (mut path, is_open) = self.known(fid)?;
        self.insist(!is_open, "a directory that is not open")?;
        path.push(name.into());
        Ok(path)
    }

    /// What a number stands for, and whether it is open.
    fn known(&self, fid: u32) -> Result<(Vec<String>, bool), u32> {
        let known = self.fids.get(&fid);
        self.insist(known.is_some(), "a number that was given")?;
        known.cloned().ok_or(EBADF)
    }

    /// An honest host holds its driver to the protocol; one that lies cannot.
    fn insist(&self, is_sound: bool, what: &str) -> Result<(), u32> {
        assert!(is_sound || self.twist.is_some(), "{what}");
        if is_sound { Ok(()) } else { Err(EBADF) }
    }

    fn identity(&self, path: &[String]) -> Vec<u8> {
        let kind = match self.tree.get(path) {
            Some(Node::Directory) => 0x80,
            Some(Node::Link) => 2,
            _ => 0,
        };
        [&[kind][..], &[0; 12]].concat()
    }

    fn status(&self, fid: u32) -> Result<Vec<u8>, u32> {
        let (path, _) = &self.known(fid)?;
        let (mode, size) = match self.tree.get(path).ok_or(ENOENT)? {
            Node::File(bytes) => (0o100_644u32, bytes.len() as u64),
            Node::Directory => (0o040_755, 4096),
            Node::Link => (0o120_777, 3),
        };
        let mut status = 0x7ffu64.to_le_bytes().to_vec();
        status.extend(self.identity(path));
        status.extend(mode.to_le_bytes());
        status.extend([0; 24]);
        status.extend(size.to_le_bytes());
        status.extend([0; 32]);
        status.extend(1_700_000_000u64.to_le_bytes());
        status.extend([0; 56]);
        Ok(status)
    }

    /// Entries from the `from`-th on, which is also how the model tells where it goes on.
    fn entries(&self, path: &[String], from: u64, room: usize) -> Vec<u8> {
        let children = self
            .tree
            .keys()
            .filter(|other| other.len() == path.len() + 1 && other.starts_with(path));
        let names = [".", ".."].into_iter().map(String::from);
        let names = names.chain(children.map(|child| child[path.len()].clone()));
        let mut bytes = Vec::new();
        for (number, name) in (1u64..).zip(names).skip(usize::try_from(from).expect("few")) {
            let length = u16::try_from(name.len()).expect("short").to_le_bytes();
            let number = number.to_le_bytes();
            let entry = [&[0; 13][..], &number, &[8], &length, name.as_bytes()].concat();
            if bytes.len() + entry.len() > room {
                break;
            }
            bytes.extend(entry);
        }
        bytes
    }
}

fn counted(bytes: Vec<u8>) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_le_bytes()[..], &bytes].concat()
}

/// What is left of a request.
struct Message<'a>(&'a [u8]);

impl Message<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (now, later) = self.0.split_at(count);
        self.0 = later;
        now.to_vec()
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn u8(&mut self) -> u8 {
        u8::try_from(self.number(1)).expect("one byte")
    }

    fn u16(&mut self) -> u16 {
        u16::try_from(self.number(2)).expect("two bytes")
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.number(4)).expect("four bytes")
    }

    fn u64(&mut self) -> u64 {
        self.number(8)
    }

    fn text(&mut self) -> String {
        let length = self.u16().into();
        String::from_utf8(self.take(length)).expect("text")
    }
}

impl<'m> Behind<'m> for Host<'m> {
    fn device(&mut self) -> &mut model::Device<'m> {
        &mut self.device
    }

    fn notified(&mut self) {
        if !self.silent {
            self.serve();
        }
    }
}
