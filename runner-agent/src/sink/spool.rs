//! What waits for a receiver, in a file: it is there again after a crash of the agent or of the machine.
//!
//! Two lanes, each in the order in which its items came: alerts and telemetry. What is bounded is bytes and age; when they
//! are exceeded the oldest telemetry goes first, and alerts only when there is nothing else. What goes is counted.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::settings::Bounds;

/// Lane and number; numbers grow.
type Key = (u8, u64);

/// Items by lane and number: when it came (seconds since 1970, 8 bytes), length of its id (2 bytes), id, item.
const ITEMS: TableDefinition<Key, &[u8]> = TableDefinition::new("items");

/// What redb may keep of the file in memory; the default is a GiB.
const CACHE: usize = 4 << 20;

/// Files of one sink that are looked at: one for each agent that runs at once, and some that were left.
const MOST_FILES: u32 = 256;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Go alone and at once.
    Alerts,
    /// Goes in batches.
    Telemetry,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Alerts, Self::Telemetry];

    fn key(self) -> u8 {
        self as u8
    }
}

/// One notice, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in the spool.
    pub number: u64,
    /// What tells it from every other, however often it is sent.
    pub id: String,
    /// The notice, in the receiver's form.
    pub bytes: Arc<[u8]>,
}

impl Item {
    /// What it takes.
    pub fn weight(&self) -> u64 {
        (self.id.len() + self.bytes.len() + HEAD) as u64
    }
}

/// What an item's value has before its id.
const HEAD: usize = 10;

/// The file, held by this process.
pub struct Spool {
    database: Arc<Database>,
    path: PathBuf,
    bounds: Bounds,
    /// By lane.
    bytes: [u64; 2],
    last: u64,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Items that were dropped because of a bound.
    pub dropped: u64,
    /// Items that had been dropped, and arrived after all.
    pub arrived_after_all: u64,
}

impl Spool {
    /// The first file of this sink in a folder that no agent holds; what it and others like it have in them is taken over.
    pub fn open(folder: &Path, sink: &str, bounds: Bounds) -> Result<Self, String> {
        let cannot = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| cannot(folder, &error))?;
        let mut own: Option<Self> = None;
        for number in 0..MOST_FILES {
            let path = folder.join(format!("{sink}.{number}.redb"));
            if own.is_some() && !path.exists() {
                continue;
            }
            let database = match hold(&path) {
                Ok(Some(database)) => database,
                Ok(None) => continue,
                Err(error) if own.is_some() => {
                    tracing::warn!(
                        "what another agent left for the sink {sink} can't be read: {}",
                        cannot(&path, &error)
                    );
                    continue;
                }
                // A file that can't be read must not keep the next agents from working; it stays for people to look at.
                Err(error) if !is_io(&error) => {
                    let aside = path.with_extension(format!("broken-{}", seconds_now()));
                    tracing::error!("{}; it is left as {}", cannot(&path, &error), aside.display());
                    std::fs::rename(&path, &aside).map_err(|error| cannot(&path, &error))?;
                    hold(&path).map_err(|error| cannot(&path, &error))?.ok_or_else(|| cannot(&path, &"it is held"))?
                }
                Err(error) => return Err(cannot(&path, &error)),
            };
            let found = Self { database: Arc::new(database), path, bounds, bytes: [0; 2], last: 0 };
            match &mut own {
                None => {
                    let mut found = found;
                    found.take_stock().map_err(|error| cannot(&found.path, &error))?;
                    own = Some(found);
                }
                Some(own) => {
                    own.take_over(&found).map_err(|error| cannot(&found.path, &error))?;
                    found.remove();
                }
            }
        }
        own.ok_or_else(|| cannot(folder, &format!("{MOST_FILES} agents have a spool for {sink} here")))
    }

    /// Counts what is there.
    fn take_stock(&mut self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            // Made here, so that a reader finds it.
            let table = transaction.open_table(ITEMS)?;
            for entry in table.iter()? {
                let (key, value) = entry?;
                let (lane, number) = key.value();
                self.bytes[usize::from(lane & 1)] += value.value().len() as u64;
                self.last = self.last.max(number);
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn take_over(&mut self, other: &Self) -> Result<(), redb::Error> {
        for lane in Lane::ALL {
            let mut after = 0;
            loop {
                let mut items = waiting(&other.database, lane, after, 512, 1 << 20)?;
                let Some(last) = items.last() else { break };
                after = last.number;
                for item in &mut items {
                    self.last += 1;
                    item.number = self.last;
                }
                let items: Vec<(Lane, Item)> = items.into_iter().map(|item| (lane, item)).collect();
                self.commit(&items, &[])?;
            }
        }
        Ok(())
    }

    /// Number of the newest item.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Bytes that wait in a lane.
    pub fn bytes(&self, lane: Lane) -> u64 {
        self.bytes[usize::from(lane.key())]
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For readers in other threads.
    pub fn database(&self) -> Arc<Database> {
        self.database.clone()
    }

    /// Adds items and takes out what was delivered, in one step that is on the disk when this returns if anything was added.
    pub fn commit(&mut self, added: &[(Lane, Item)], done: &[(Lane, u64)]) -> Result<Committed, redb::Error> {
        let mut committed = Committed::default();
        let mut bytes = self.bytes;
        let now = seconds_now();
        let mut transaction = self.database.begin_write()?;
        if added.is_empty() {
            // What is lost with it is sent again.
            transaction.set_durability(Durability::None)?;
        }
        {
            let mut table = transaction.open_table(ITEMS)?;
            let mut value = Vec::new();
            for (lane, item) in added {
                value.clear();
                value.extend(now.to_be_bytes());
                value.extend((item.id.len() as u16).to_be_bytes());
                value.extend(item.id.as_bytes());
                value.extend(&*item.bytes);
                table.insert((lane.key(), item.number), value.as_slice())?;
                bytes[usize::from(lane.key())] += value.len() as u64;
            }
            for (lane, number) in done {
                match table.remove((lane.key(), *number))? {
                    Some(value) => bytes[usize::from(lane.key())] -= value.value().len() as u64,
                    None => committed.arrived_after_all += 1,
                }
            }
            let oldest = now.saturating_sub(self.bounds.age.as_secs());
            for lane in [Lane::Telemetry, Lane::Alerts] {
                let range = (lane.key(), 0)..=(lane.key(), u64::MAX);
                loop {
                    let is_over = bytes.iter().sum::<u64>() > self.bounds.bytes;
                    let first = table.range(range.clone())?.next().transpose()?;
                    let first =
                        first.map(|(key, value)| (key.value(), came(value.value()), value.value().len() as u64));
                    let Some((key, _, length)) = first.filter(|(_, came, _)| is_over || *came < oldest) else { break };
                    table.remove(key)?;
                    bytes[usize::from(lane.key())] -= length;
                    committed.dropped += 1;
                }
            }
        }
        transaction.commit()?;
        self.bytes = bytes;
        self.last = added.iter().map(|(_, item)| item.number).fold(self.last, u64::max);
        Ok(committed)
    }

    /// Closes it, and takes the file away when nothing waits in it.
    pub fn close(self) {
        if self.bytes == [0; 2] { self.remove() } else { self.settle() }
    }

    /// Nothing more is added: what was only taken out is written down too.
    fn settle(self) {
        let settled =
            self.database.begin_write().map_err(redb::Error::from).and_then(|transaction| Ok(transaction.commit()?));
        if let Err(error) = settled {
            tracing::warn!("{}: {error}; some of what was delivered will be sent again", self.path.display());
        }
    }

    /// Takes the file away while it is still held: who opens it meanwhile sees that it is gone.
    fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("can't remove {}: {error}", self.path.display());
        }
    }
}

/// Items of a lane after a number, so many and so many bytes at most, but at least one if there is one.
pub fn waiting(
    database: &Database,
    lane: Lane,
    after: u64,
    most: usize,
    bytes: usize,
) -> Result<Vec<Item>, redb::Error> {
    let table = database.begin_read()?.open_table(ITEMS)?;
    let mut items = Vec::new();
    let mut taken = 0;
    for entry in table.range((lane.key(), after.saturating_add(1))..=(lane.key(), u64::MAX))?.take(most) {
        let (key, value) = entry?;
        let value = value.value();
        let id = value.get(8..HEAD).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
        let (Some(id), Some(item)) = (value.get(HEAD..HEAD + id), value.get(HEAD + id..)) else { continue };
        taken += item.len();
        if taken > bytes && !items.is_empty() {
            break;
        }
        let id = String::from_utf8_lossy(id).into_owned();
        items.push(Item { number: key.value().1, id, bytes: item.into() });
    }
    Ok(items)
}

fn came(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |seconds| u64::from_be_bytes(*seconds))
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn is_io(error: &redb::DatabaseError) -> bool {
    matches!(error, redb::DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData)
}

/// Opens a file that nobody holds; none if somebody does.
fn hold(path: &Path) -> Result<Option<Database>, redb::DatabaseError> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
    for _ in 0..8 {
        let io = |error: io::Error| redb::DatabaseError::Storage(redb::StorageError::Io(error));
        let file = options.open(path).map_err(io)?;
        let inode = file.metadata().map_err(io)?.ino();
        match create(file) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Ok(None),
            Err(error) => return Err(error),
            // Its holder may have removed it between our opening and our locking.
            Ok(database) if std::fs::metadata(path).is_ok_and(|now| now.ino() == inode) => return Ok(Some(database)),
            Ok(_) => {}
        }
    }
    Ok(None)
}

fn create(file: File) -> Result<Database, redb::DatabaseError> {
    let mut builder = redb::Builder::new();
    // A file that somebody changed is to be refused here, and not to end the agent later.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder.create_with_backend(redb::backends::FileBackend::new(file)?)
}

#[cfg(test)]
mod tests;
