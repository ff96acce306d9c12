//! A disk in memory with two images: *live*, what a program reads back at once, and *durable*, what a power cut
//! leaves. One operation, chosen by its number, goes wrong in a chosen way.

use isoledger_ledger::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the chosen operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The program is killed: every later operation fails too.
    Killed,
    /// An input/output error.
    Io,
    /// No space: a write is done by half before it fails.
    Full,
}

/// Whether it took effect although it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Not at all. A failed sync drops its dirty pages: they stay readable and the next sync has nothing to do.
    Lost,
    /// Fully, and durably.
    Persisted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Number of the operation, from 0.
    pub(crate) at: u64,
    pub(crate) failure: Failure,
    pub(crate) effect: Effect,
}

/// What the next start finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Restart {
    /// The page cache: only the program had died.
    Live,
    /// What was synced: the power had gone.
    Durable,
    /// What was synced, and of the rest the second half of each write: pages reach the disk in any order.
    Holes,
}

#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Directories; they are made once and their own durability is not this disk's subject.
    dirs: Vec<PathBuf>,
    files: Vec<Image>,
    ops: u64,
    names: Vec<String>,
    plan: Option<Plan>,
    dead: bool,
}

#[derive(Clone, Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `live` that a sync would write.
    dirty: Vec<(usize, usize)>,
    /// Whether a sync would write the length.
    resized: bool,
}

impl Image {
    fn sync(&mut self) {
        for (from, to) in std::mem::take(&mut self.dirty) {
            let to = to.min(self.live.len());
            if from < to {
                if self.durable.len() < to {
                    self.durable.resize(to, 0);
                }
                self.durable[from..to].copy_from_slice(&self.live[from..to]);
            }
        }
        if std::mem::take(&mut self.resized) {
            self.durable.resize(self.live.len(), 0);
        }
    }
}

fn error(failure: Failure) -> io::Error {
    match failure {
        Failure::Killed => io::Error::other("the program was killed here"),
        Failure::Io => io::Error::other("input/output error"),
        Failure::Full => io::Error::new(io::ErrorKind::StorageFull, "no space left"),
    }
}

impl FaultyDisk {
    pub(crate) fn new(plan: Option<Plan>) -> FaultyDisk {
        let disk = FaultyDisk::default();
        disk.state().plan = plan;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What each operation so far was.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.clone()
    }

    /// Whether the planned operation was reached.
    pub(crate) fn struck(&self) -> bool {
        let s = self.state();
        s.plan.is_some_and(|p| s.ops > p.at)
    }

    /// The disk as the next start finds it, sound from now on.
    pub(crate) fn restarted(&self, restart: Restart) -> FaultyDisk {
        let mut s = self.state().clone();
        (s.plan, s.dead, s.ops) = (None, false, 0);
        s.names.clear();
        if restart != Restart::Live {
            s.live = s.durable.clone();
            for image in &mut s.files {
                let mut found = image.durable.clone();
                if restart == Restart::Holes {
                    for (from, to) in std::mem::take(&mut image.dirty) {
                        let (from, to) = (from + (to - from) / 2, to.min(image.live.len()));
                        if from < to {
                            found.resize(found.len().max(to), 0);
                            found[from..to].copy_from_slice(&image.live[from..to]);
                        }
                    }
                }
                *image = Image { live: found.clone(), durable: found, ..Image::default() };
            }
        }
        FaultyDisk(Arc::new(Mutex::new(s)))
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let s = self.state();
        s.files[s.live[path]].live.clone()
    }

    /// The same disk, apart from it, with other bytes in one file.
    pub(crate) fn with(&self, path: &Path, bytes: &[u8]) -> FaultyDisk {
        let disk = self.restarted(Restart::Live);
        {
            let mut s = disk.state();
            let file = s.live[path];
            s.files[file] = Image { live: bytes.to_vec(), durable: bytes.to_vec(), ..Image::default() };
        }
        disk
    }

    /// The same, with a plan for what comes.
    pub(crate) fn planned(&self, plan: Plan) -> FaultyDisk {
        let disk = self.restarted(Restart::Live);
        disk.state().plan = Some(plan);
        disk
    }

    /// Does `act` as the next operation, or what the plan wants instead.
    fn operate<T>(
        &self,
        name: &str,
        path: &Path,
        act: impl Fn(&mut State) -> io::Result<T>,
        half: impl Fn(&mut State),
        lost: impl Fn(&mut State),
        durable: impl Fn(&mut State),
    ) -> io::Result<T> {
        let mut s = self.state();
        if s.dead {
            return Err(error(Failure::Killed));
        }
        let n = s.ops;
        s.ops += 1;
        let what = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        s.names.push(format!("{name} {what}"));
        let Some(plan) = s.plan.filter(|p| p.at == n) else { return act(&mut s) };
        s.dead = plan.failure == Failure::Killed;
        match plan.effect {
            Effect::Persisted => {
                act(&mut s)?;
                durable(&mut s);
            }
            Effect::Lost if plan.failure == Failure::Full => half(&mut s),
            // What was written stays written, in the page cache and not on the disk.
            Effect::Lost if plan.failure == Failure::Killed => {}
            Effect::Lost => lost(&mut s),
        }
        Err(error(plan.failure))
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyDisk")
    }
}

fn none(_: &mut State) {}

struct Open {
    disk: FaultyDisk,
    path: PathBuf,
    file: usize,
}

impl FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let s = self.state();
        if s.dead {
            return Err(error(Failure::Killed));
        }
        let file = *s.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Open { disk: self.clone(), path: path.to_owned(), file }))
    }
}

impl Disk for FaultyDisk {
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let make = |s: &mut State| {
            if s.live.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            s.files.push(Image::default());
            let file = s.files.len() - 1;
            s.live.insert(path.to_owned(), file);
            Ok(file)
        };
        let durable = |s: &mut State| {
            let file = s.live[path];
            s.durable.insert(path.to_owned(), file);
        };
        let file = self.operate("create", path, make, none, none, durable)?;
        Ok(Box::new(Open { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let s = self.state();
        if s.dead {
            return Err(error(Failure::Killed));
        }
        if !s.dirs.iter().any(|d| d == dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let in_dir = s.live.keys().filter(|p| p.parent() == Some(dir)).filter_map(|p| p.file_name());
        Ok(in_dir.map(|n| n.to_string_lossy().into_owned()).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let make = |s: &mut State| {
            if !s.dirs.iter().any(|d| d == dir) {
                s.dirs.push(dir.to_owned());
            }
            Ok(())
        };
        self.operate("mkdir", dir, make, none, none, none)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = |s: &mut State| {
            let file = s.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
            s.live.insert(to.to_owned(), file);
            Ok(())
        };
        let durable = |s: &mut State| {
            s.durable.remove(from);
            let file = s.live[to];
            s.durable.insert(to.to_owned(), file);
        };
        self.operate("rename to", to, act, none, none, durable)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // Looking for a file that is not there changes nothing, and is no step of its own.
        if !self.state().live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let act = |s: &mut State| s.live.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into());
        let durable = |s: &mut State| {
            s.durable.remove(path);
        };
        self.operate("remove", path, act, none, none, durable)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let act = |s: &mut State| {
            let inside = |p: &Path| p.parent() == Some(dir);
            s.durable.retain(|p, _| !inside(p));
            let names: Vec<_> =
                s.live.iter().filter(|(p, _)| inside(p)).map(|(p, f)| (p.clone(), *f)).collect();
            s.durable.extend(names);
            Ok(())
        };
        self.operate("sync directory", dir, act, none, none, none)
    }
}

impl DiskFile for Open {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let s = self.disk.state();
        let live = &s.files[self.file].live;
        let from = (offset as usize).min(live.len());
        let n = buf.len().min(live.len() - from);
        buf[..n].copy_from_slice(&live[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = self.file;
        let write = |s: &mut State, bytes: &[u8]| {
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            let image = &mut s.files[file];
            if image.live.len() < to {
                image.live.resize(to, 0);
            }
            image.live[from..to].copy_from_slice(bytes);
            image.dirty.push((from, to));
        };
        let act = |s: &mut State| {
            write(s, bytes);
            Ok(())
        };
        let half = |s: &mut State| write(s, &bytes[..bytes.len() / 2]);
        self.disk.operate("write", &self.path, act, half, none, |s| s.files[file].sync())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let file = self.file;
        let act = |s: &mut State| {
            s.files[file].live.resize(size as usize, 0);
            s.files[file].resized = true;
            Ok(())
        };
        self.disk.operate("cut", &self.path, act, none, none, |s| s.files[file].sync())
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = self.file;
        let act = |s: &mut State| {
            s.files[file].sync();
            Ok(())
        };
        // The pages stay readable and are clean: the next sync has nothing to do, and says so with a success.
        let lost = |s: &mut State| {
            s.files[file].dirty.clear();
            s.files[file].resized = false;
        };
        self.disk.operate("sync", &self.path, act, lost, lost, none)
    }
}
