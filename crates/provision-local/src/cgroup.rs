//! Control groups, where this process may create some: cgroups(7).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wpclone_supervisor::{Cgroup, creator_of, remove_cgroup};

use crate::sandbox::ResourceLimits;

/// What the names of the groups of all workers begin with.
pub(crate) const COMMON_PREFIX: &str = "wpclone-";
/// How long removing a control group may take that was left by a dead process.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The weight of an ordinary process, and how version 1 writes it.
const ORDINARY_WEIGHT: u64 = 100;
const ORDINARY_SHARES: u64 = 1024;
/// The controllers that are used.
const CONTROLLERS: [Controller; 3] = [Controller::Pids, Controller::Memory, Controller::Cpu];

/// The group of version 2 that this process moves to, beside those of programs.
const WORKER_GROUP: &str = "wpclone-worker";

/// What a control group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Pids,
    Memory,
    Cpu,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

/// A hierarchy of control groups in which this process creates groups.
#[derive(Debug, Clone)]
struct Hierarchy {
    /// The folder that new groups are created in.
    parent: PathBuf,
    /// The group of this process.
    own: PathBuf,
    controllers: Vec<Controller>,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The hierarchies of this machine that can be used; none is a machine where only limits of single processes apply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// What the names of all groups of one state folder begin with.
    prefix: String,
}

impl Cgroups {
    /// Finds the hierarchies and removes what dead processes have left: the groups with this prefix with all that runs in
    /// them, and those of other state folders that are empty.
    pub(crate) fn find(prefix: &str) -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let mut found = version_one(&mounts, &own);
        found.extend(version_two(&mounts, &own));
        found.retain(|hierarchy| {
            remove_left(&hierarchy.parent, prefix);
            can_create(hierarchy, prefix)
        });
        Self { hierarchies: found, prefix: prefix.to_owned() }
    }

    /// Whether the memory of a program is limited as a whole.
    pub(crate) fn limit_memory(&self) -> bool {
        self.has(Controller::Memory)
    }

    /// The controllers that are missing.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        CONTROLLERS.into_iter().filter(|c| !self.has(*c)).map(Controller::name).collect()
    }

    fn has(&self, controller: Controller) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// Creates the groups of a program.
    pub(crate) fn create(&self, name: &str, limits: &ResourceLimits) -> io::Result<NewCgroups> {
        let mut created = NewCgroups(Vec::new());
        for hierarchy in &self.hierarchies {
            let folder = hierarchy.parent.join(format!("{}{name}", self.prefix));
            let made = fs::create_dir(&folder).and_then(|()| set_limits(hierarchy, &folder, limits));
            created.0.push(Cgroup { folder, supervisor: hierarchy.own.clone() });
            made.map_err(|error| {
                io::Error::new(error.kind(), format!("a control group cannot be created: {error}"))
            })?;
        }
        Ok(created)
    }
}

/// Control groups that no supervisor has got. They are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct NewCgroups(Vec<Cgroup>);

impl NewCgroups {
    /// The groups.
    pub(crate) fn all(&self) -> Vec<Cgroup> {
        self.0.clone()
    }

    /// A supervisor has got them and removes them.
    pub(crate) fn hand_over(mut self) {
        self.0.clear();
    }
}

impl Drop for NewCgroups {
    fn drop(&mut self) {
        for cgroup in &self.0 {
            // Nothing is in it.
            let _ = fs::remove_dir(&cgroup.folder);
        }
    }
}

fn set_limits(hierarchy: &Hierarchy, folder: &Path, limits: &ResourceLimits) -> io::Result<()> {
    let set = |file: &str, value: u64| fs::write(folder.join(file), value.to_string());
    let (memory, weight) = (limits.memory_bytes, u64::from(limits.cpu_weight));
    for controller in &hierarchy.controllers {
        match (controller, hierarchy.version) {
            (Controller::Pids, _) => set("pids.max", limits.processes.into())?,
            (Controller::Memory, Version::One) => {
                set("memory.limit_in_bytes", memory)?;
                // Exists only where swap is accounted for.
                if folder.join("memory.memsw.limit_in_bytes").exists() {
                    set("memory.memsw.limit_in_bytes", memory)?;
                }
            }
            (Controller::Memory, Version::Two) => {
                set("memory.max", memory)?;
                if folder.join("memory.swap.max").exists() {
                    set("memory.swap.max", 0)?;
                }
            }
            (Controller::Cpu, Version::One) => set("cpu.shares", weight * ORDINARY_SHARES / ORDINARY_WEIGHT)?,
            (Controller::Cpu, Version::Two) => set("cpu.weight", weight)?,
        }
    }
    Ok(())
}

fn can_create(hierarchy: &Hierarchy, prefix: &str) -> bool {
    let folder = hierarchy.parent.join(format!("{prefix}probe"));
    let limits = ResourceLimits {
        processes: 1,
        memory_bytes: 1 << 20,
        cpu_weight: 100,
        open_files: 1,
        file_bytes: None,
    };
    let created = fs::create_dir(&folder).and_then(|()| set_limits(hierarchy, &folder, &limits));
    let _ = fs::remove_dir(&folder);
    created.is_ok()
}

fn remove_left(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let (name, folder) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str().filter(|name| name.starts_with(COMMON_PREFIX)) else { continue };
        if name.starts_with(prefix) {
            if let Err(error) = remove_cgroup(&folder, REMOVAL_TIMEOUT) {
                tracing::warn!(%error, cgroup = %folder.display(), "a control group cannot be removed");
            }
        } else if creator_of(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // This fails when anything runs in it: then its supervisor lives.
            let _ = fs::remove_dir(&folder);
        }
    }
}

/// The hierarchies of version 1 that have one of the controllers.
fn version_one(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in own.lines() {
        // cgroups(7): number, controllers, path.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        let names: Vec<&str> = names.split(',').collect();
        let controllers: Vec<_> = CONTROLLERS.into_iter().filter(|c| names.contains(&c.name())).collect();
        let Some(first) = controllers.first() else { continue };
        let mount = mount_of(mounts, "cgroup", |options| options.split(',').any(|o| o == first.name()));
        if let Some(folder) = mount.and_then(|mount| mount.folder_of(Path::new(path))) {
            found.push(Hierarchy { parent: folder.clone(), own: folder, controllers, version: Version::One });
        }
    }
    found
}

/// The hierarchy of version 2, if a part of it with controllers is delegated to this process: systemd.resource-control(5).
fn version_two(mounts: &str, own: &str) -> Option<Hierarchy> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    // This process may have moved before.
    let path = Path::new(path);
    let path = if path.ends_with(WORKER_GROUP) { path.parent()? } else { path };
    let folder = mount_of(mounts, "cgroup2", |_| true)?.folder_of(path)?;
    let available = fs::read_to_string(folder.join("cgroup.controllers")).ok()?;
    let available: Vec<&str> = available.split_whitespace().collect();
    let controllers: Vec<_> = CONTROLLERS.into_iter().filter(|c| available.contains(&c.name())).collect();
    if controllers.is_empty() {
        return None;
    }
    // A group whose children have controllers must not contain processes itself. Those of others are not moved.
    let processes = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    let own = folder.join(WORKER_GROUP);
    if processes.trim() == std::process::id().to_string() {
        fs::create_dir(&own).ok()?;
        fs::write(own.join("cgroup.procs"), "0").ok()?;
    }
    let enabled: Vec<String> = controllers.iter().map(|c| format!("+{}", c.name())).collect();
    fs::write(folder.join("cgroup.subtree_control"), enabled.join(" ")).ok()?;
    Some(Hierarchy { parent: folder, own, controllers, version: Version::Two })
}

/// A mounted hierarchy.
struct Mount<'a> {
    /// The group that the mount shows at its top.
    root: &'a str,
    folder: &'a str,
}

impl Mount<'_> {
    /// The folder of a group.
    fn folder_of(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root).ok()?;
        let folder = Path::new(self.folder).join(below);
        folder.is_dir().then_some(folder)
    }
}

/// The mount of this type whose options satisfy a condition: proc(5).
fn mount_of<'a>(mounts: &'a str, kind: &str, condition: impl Fn(&str) -> bool) -> Option<Mount<'a>> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let is_it = after.next()? == kind && after.nth(1).is_some_and(&condition);
        let mut before = before.split(' ').skip(3);
        is_it.then(|| Some(Mount { root: before.next()?, folder: before.next()? })).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_this_process_is_found_below_its_mount() {
        let mounts = "31 25 0:27 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                      32 25 0:28 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let mount = |name| mount_of(mounts, "cgroup", |options| options.split(',').any(|o| o == name));
        let pids = mount("pids").unwrap();
        assert_eq!((pids.root, pids.folder), ("/", "/sys/fs/cgroup/pids"));
        let memory = mount("memory").unwrap();
        assert_eq!((memory.root, memory.folder), ("/docker/a", "/sys/fs/cgroup/memory"));
        assert!(memory.folder_of(Path::new("/elsewhere")).is_none(), "a group outside of the mount");
        assert!(mount("cpu").is_none() && mount_of(mounts, "cgroup2", |_| true).is_none());
    }
}
