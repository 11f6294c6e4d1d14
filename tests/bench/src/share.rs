//! The share of a processor that a function has, by its memory.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

/// The memory in MB that comes with the equivalent of one processor (Lambda's documentation).
const WHOLE: u64 = 1769;
/// In microseconds: after its share of a period, a process waits for the next. Lambda's own is not documented.
const PERIOD: u64 = 20_000;

/// A control group with a share of one processor.
pub(crate) struct Share {
    folder: PathBuf,
}

impl Share {
    /// The share that comes with `memory` MB. Fails where this machine lets nobody make such groups.
    pub(crate) fn of(memory: u64) -> Result<Self> {
        let quota = PERIOD * memory / WHOLE;
        let name = format!("bench-{}-{memory}", std::process::id());
        let unified = PathBuf::from("/sys/fs/cgroup");
        let make = |folder: PathBuf, files: &[(&str, String)]| {
            fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            let share = Self { folder };
            for (file, text) in files {
                fs::write(share.folder.join(file), text).with_context(|| format!("{file} cannot be set"))?;
            }
            Ok(share)
        };
        if fs::read_to_string(unified.join("cgroup.subtree_control")).is_ok_and(|list| list.contains("cpu")) {
            make(unified.join(name), &[("cpu.max", format!("{quota} {PERIOD}"))])
        } else if unified.join("cpu/cpu.cfs_quota_us").exists() || unified.join("cpu/tasks").exists() {
            // Version 1, as some machines still have it.
            let files = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            make(unified.join("cpu").join(name), &files)
        } else {
            bail!("there are no control groups for processors at {}", unified.display())
        }
    }

    /// Puts a process under it.
    pub(crate) fn admit(&self, pid: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).context("a process cannot be put on its share")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // The kernel takes it once its last process is gone; what is left is empty.
        let _ = fs::remove_dir(&self.folder);
    }
}
