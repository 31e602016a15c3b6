//! A browser's processes on this machine: chromedriver and all that it starts, under a supervisor, in a folder and as a
//! user of their own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, unique_folder};

use super::confinement::{BrowserConfinement, OWN_EXECUTABLE, bubblewrap_args, proxy_address};
use super::limited_connector::DriverEndpoint;
use super::users::{BrowserUser, BrowserUsers};
use super::{BrowserError, relay};
use crate::net::EgressProxy;

/// The deadline of chromedriver's start.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How often a driver is asked whether it is ready.
const POLL: Duration = Duration::from_millis(5);

/// A browser's programs, and how they are started.
pub(super) struct LocalDriverSpec<'a> {
    /// The browser and chromedriver, without links in their paths.
    pub(super) browser: &'a Path,
    pub(super) driver: &'a Path,
    pub(super) confinement: &'a BrowserConfinement,
    pub(super) users: &'a Arc<BrowserUsers>,
    /// Where the folder is created.
    pub(super) folders: &'a Path,
}

/// A running chromedriver.
pub(super) struct LocalDriver {
    supervised: Supervised,
    is_in_bubblewrap: bool,
    /// Locked until no process of it is left.
    user: BrowserUser,
}

impl LocalDriver {
    /// Starts one in a folder that is created for it and removed after it.
    pub(super) async fn spawn(spec: &LocalDriverSpec<'_>) -> Result<Self, BrowserError> {
        let gone = |error: &dyn std::fmt::Display| BrowserError::Gone(error.to_string());
        let users = Arc::clone(spec.users);
        let user = spawn_blocking(move || users.acquire()).await.map_err(|e| gone(&e))?;
        let user = user.map_err(|e| gone(&e))?;
        let folder = unique_folder(spec.folders, "task");
        let (program, args, stdout) = match &spec.confinement.bubblewrap {
            Some(bubblewrap) => {
                let args = bubblewrap_args(&folder, spec.driver, spec.browser, spec.confinement);
                (bubblewrap.clone(), args, Stdio::null())
            }
            // With OFF it would not print its port either.
            None => {
                let args = vec!["--port=0".into(), "--log-level=SEVERE".into()];
                (spec.driver.to_owned(), args, Stdio::piped())
            }
        };
        let is_in_bubblewrap = spec.confinement.bubblewrap.is_some();
        let inherited_files = if is_in_bubblewrap { vec![OWN_EXECUTABLE.into()] } else { Vec::new() };
        let confinement =
            Confinement { is_bubblewrap: is_in_bubblewrap, inherited_files, ..Confinement::default() };
        let process = ProcessSpec {
            program,
            args,
            env: environment(&folder),
            folder,
            grace: Duration::ZERO,
            run_as: user.run_as(),
            confinement,
        };
        let own = Path::new("/proc/self/exe");
        let supervised = Supervised::spawn_with(own, process, stdout, Stdio::inherit()).await;
        let supervised = supervised.map_err(|error| gone(&error))?;
        Ok(Self { supervised, is_in_bubblewrap, user })
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&mut self) -> Result<DriverEndpoint, BrowserError> {
        let endpoint = timeout(START_DEADLINE, async {
            if self.is_in_bubblewrap { self.socket_ready().await } else { self.port_ready().await }
        });
        endpoint.await.ok().flatten().ok_or_else(|| BrowserError::Gone("the driver did not start".into()))
    }

    /// `None` when it has ended.
    async fn socket_ready(&mut self) -> Option<DriverEndpoint> {
        let socket = self.supervised.folder().join(relay::DRIVER_SOCKET);
        while !socket.exists() {
            if !self.supervised.is_running() {
                return None;
            }
            sleep(POLL).await;
        }
        Some(DriverEndpoint::Unix { socket, port: relay::DRIVER_PORT, uid: self.user.uid })
    }

    async fn port_ready(&mut self) -> Option<DriverEndpoint> {
        let mut lines = BufReader::new(self.supervised.stdout()?).lines();
        let port = loop {
            let line = lines.next_line().await.ok().flatten()?;
            if let Some(port) = announced_port(&line) {
                break port;
            }
        };
        // Drains the pipe, or the driver would block once it is full. Ends with the driver.
        tokio::spawn(async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
        Some(DriverEndpoint::Tcp { port })
    }

    /// Lets the browser reach this proxy; returns where the proxy is for the browser.
    pub(super) fn connect_proxy(&self, proxy: &EgressProxy) -> Result<SocketAddr, BrowserError> {
        if !self.is_in_bubblewrap {
            return Ok(proxy.address());
        }
        let listener = self.bind_proxy_socket();
        proxy.listen_at(listener.map_err(|error| BrowserError::Gone(format!("its proxy: {error}")))?);
        Ok(proxy_address())
    }

    /// Binds the socket in the browser's folder, and gives it to the browser's user.
    fn bind_proxy_socket(&self) -> io::Result<UnixListener> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder: OwnedFd = rustix::fs::openat(CWD, self.supervised.folder(), flags, Mode::empty())?;
        // By the open folder: its path may be longer than the path of a socket may be.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), relay::PROXY_SOCKET));
        let listener = UnixListener::bind(path)?;
        if let Some((uid, gid)) = self.user.run_as() {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(folder.as_fd(), relay::PROXY_SOCKET, uid, gid, flags)?;
        }
        Ok(listener)
    }

    /// The process that all processes of the browser descend from.
    pub(super) fn supervisor_pid(&self) -> Option<u32> {
        self.supervised.supervisor_pid()
    }

    /// Ends it and its browsers; returns when no process is left.
    pub(super) async fn stop(self) {
        let Self { mut supervised, user, .. } = self;
        supervised.stop().await;
        drop(user);
    }
}

/// The environment of a browser: nothing of the worker's settings.
fn environment(folder: &Path) -> Vec<(String, String)> {
    let home = folder.display().to_string();
    let keep = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
    let mut env = vec![("HOME".to_owned(), home.clone()), ("XDG_CONFIG_HOME".to_owned(), home)];
    env.extend(["PATH", "LANG", "TZ", "FONTCONFIG_PATH"].into_iter().filter_map(keep));
    env
}

/// `ChromeDriver was started successfully on port 34567.`
fn announced_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("successfully on port ")?;
    rest.trim_end().trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_drivers_output() {
        assert_eq!(announced_port("ChromeDriver was started successfully on port 34567."), Some(34567));
        assert_eq!(announced_port("Starting ChromeDriver 156 on port 0"), None);
    }
}
