//! The made-up machine's persistent objects: texts by their paths.

use libd3os::object::ObjectId;
use libd3os::object::fot::{Entry, Rights, Target};
use libd3os::object::heap::{Area, Purpose};
use libd3os::object::map::{ObjectMap, Pointer};
use libd3os::object::operators::Operator;
use libd3os::service::pmem::{
    Making, NamedObject, ObjectKind, ObjectName, ObjectStatus, PmemError, PoolStatus, Removed, Tier,
};
use libd3os::store::StoreError;

use crate::fake::Fake;
use crate::objects::{Holds, Meant, Objects, Worked};
use crate::system::{System, SystemError};

type Done<T> = Result<T, SystemError>;

fn refused<T>(error: PmemError) -> Done<T> {
    Err(SystemError::Store(StoreError::Refused(error)))
}

fn status(text: &Option<String>, tier: Tier) -> ObjectStatus {
    ObjectStatus {
        id: ObjectName(0x0123_4567_89ab_cdef),
        tier,
        kind: if text.is_some() { ObjectKind::Object } else { ObjectKind::Directory },
        pages: 4,
        links: 1,
        fingerprint: 0xf00d,
        of: "Text".into(),
        version: 7,
        owner: "shell".into(),
        users: 2,
    }
}

impl Fake {
    const fn tier(&self) -> Tier {
        if self.volatile { Tier::Volatile } else { Tier::Persistent }
    }

    const fn pool(&self) -> PoolStatus {
        PoolStatus {
            id: 0xfeed,
            pages: 262_144,
            data: 258_000,
            free: 257_000,
            objects: 3,
            sessions: 1,
            most_sessions: 55,
            domain: None,
            tier: self.tier(),
            is_read_only: false,
        }
    }

    fn place(&mut self, path: &str) -> Done<&mut Option<String>> {
        let found = self.objects.as_mut().and_then(|objects| objects.get_mut(path));
        found.map_or_else(|| refused(PmemError::NotFound), Ok)
    }

    fn add(&mut self, path: &str, text: Option<String>) -> Done<()> {
        match self.objects.as_mut().and_then(|objects| objects.insert(path.into(), text)) {
            Some(_) => refused(PmemError::Exists),
            None => Ok(()),
        }
    }
}

impl Objects for Fake {
    fn pools(&mut self) -> Done<Vec<PoolStatus>> {
        Ok(vec![self.pool()])
    }

    fn make_pool(&mut self, making: Making) -> Done<PoolStatus> {
        if making == Making::Searched {
            return refused(PmemError::NoPool("it is somebody else's".into()));
        }
        self.done.push(format!("made a pool: {making:?}"));
        Ok(self.pool())
    }

    fn check_pool(&mut self) -> Done<Vec<String>> {
        Ok(self.damage.clone())
    }

    fn repair_pool(&mut self) -> Done<Vec<String>> {
        Ok(self.damage.split_off(self.damage.len().min(1)))
    }

    fn objects(&mut self, directory: &str) -> Done<Vec<NamedObject>> {
        let tier = self.tier();
        let before = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let objects = self.objects.iter().flatten();
        let below = objects.filter_map(|(path, text)| Some((path.strip_prefix(&before)?, text)));
        let here = below.filter(|(name, _)| !name.contains('/'));
        Ok(here
            .map(|(name, text)| NamedObject { name: name.into(), status: status(text, tier) })
            .collect())
    }

    fn object(&mut self, path: &str) -> Done<ObjectStatus> {
        let tier = self.tier();
        Ok(status(self.place(path)?, tier))
    }

    fn make_text(&mut self, path: &str, pages: u32, tier: Option<Tier>) -> Done<()> {
        let tier = tier.map_or_else(String::new, |tier| format!("{tier} "));
        self.done.push(format!("made {tier}{path} of {pages} pages"));
        self.add(path, Some(String::new()))
    }

    fn make_object_directory(&mut self, path: &str, _: Option<Tier>) -> Done<()> {
        self.add(path, None)
    }

    fn text(&mut self, path: &str) -> Done<String> {
        self.place(path)?.clone().map_or_else(|| refused(PmemError::IsDirectory), Ok)
    }

    fn set_text(&mut self, path: &str, text: &str) -> Done<()> {
        *self.place(path)? = Some(text.into());
        Ok(())
    }

    fn change_text(&mut self, path: &str, before: &str, text: &str) -> Done<bool> {
        let is_it = self.text(path)? == before;
        if is_it {
            self.set_text(path, text)?;
        }
        Ok(is_it)
    }

    fn make_holder(&mut self, path: &str, _: Holds, bytes: u64) -> Done<()> {
        self.done.push(format!("room for {bytes} bytes"));
        self.add(path, Some(String::new()))
    }

    fn fill_object(&mut self, path: &str, _: Holds, at: u64, host: &str, most: u64) -> Done<u64> {
        let (mut text, mut done) = (self.text(path)?, 0);
        text.truncate(usize::try_from(at).expect("small"));
        while done < most {
            let more = self.read_host(host, at + done)?;
            if more.is_empty() {
                break;
            }
            done += more.len() as u64;
            text += &String::from_utf8_lossy(&more);
        }
        self.set_text(path, &text)?;
        Ok(done)
    }

    fn spill_object(&mut self, path: &str, at: u64, host: &str, most: u64) -> Done<u64> {
        let at = usize::try_from(at).expect("small");
        let text = self.text(path)?.into_bytes();
        let held: Vec<u8> =
            text.into_iter().skip(at).take(usize::try_from(most).expect("small")).collect();
        let mut file = self.host().get(host).cloned().flatten().unwrap_or_default();
        file.truncate(at);
        file.extend(&held);
        self.write_host(host, &file)?;
        Ok(held.len() as u64)
    }

    fn map_object(&mut self, path: &str) -> Done<ObjectMap> {
        self.text(path)?;
        let area = |page, pages, purpose| Area { page, pages, purpose };
        let small = Purpose::Small { bytes: 64, blocks: 63, taken: 2 };
        let entry = Entry { target: Target::Object(ObjectId::new(5)), rights: Rights::READ };
        let pointer = |name: &str, entry, to| Pointer { at: 0x2040, name: name.into(), entry, to };
        Ok(ObjectMap {
            bytes: 9 * 4096,
            areas: vec![area(2, 1, Purpose::Large), area(3, 1, small), area(4, 4, Purpose::Free)],
            entries: vec![(1, entry)],
            pointers: vec![pointer("text", 0, 0x3040), pointer("other", 1, 0x2040)],
            more: false,
        })
    }

    fn work_on_object(&mut self, path: &str, work: &Operator) -> Done<Worked> {
        let text = self.text(path)?;
        let outcome = work.carry_out(text.as_bytes(), 0..text.len());
        Ok(Worked { meant: Meant::Text, bytes: text.len() as u64, outcome })
    }

    fn show_object(&mut self, path: &str) -> Done<String> {
        Ok(format!("Text {{\n    text: {:?},\n}}", self.text(path)?))
    }

    fn snapshot_object(&mut self, path: &str, snapshot: &str) -> Done<()> {
        self.link_object(path, snapshot)
    }

    fn link_object(&mut self, path: &str, other: &str) -> Done<()> {
        let text = self.place(path)?.clone();
        self.add(other, text)
    }

    fn rename_object(&mut self, path: &str, other: &str) -> Done<()> {
        self.link_object(path, other)?;
        self.remove_object(path).map(drop)
    }

    fn remove_object(&mut self, path: &str) -> Done<Removed> {
        self.place(path)?;
        self.objects.as_mut().and_then(|objects| objects.remove(path));
        Ok(if path == "used" { Removed::InUse } else { Removed::Deleted })
    }
}
