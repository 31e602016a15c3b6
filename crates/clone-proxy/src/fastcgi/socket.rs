//! The socket of a clone's php-fpm.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use tokio::net::UnixStream;
use wpclone_beneath::{Dir, Owner};

/// The socket of a clone's php-fpm, in a folder that belongs to the clone: anything may have its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhpSocket {
    /// Its path. The folder's own path is ours.
    pub path: PathBuf,
    /// The user that php-fpm runs as.
    pub uid: u32,
}

impl PhpSocket {
    /// Connects to php-fpm. Nothing is sent unless a program of the clone's user accepts it: a link is not followed, and
    /// what listens has to be of that user.
    ///
    /// # Errors
    /// There is no such socket, it is somebody else's, or nothing accepts connections.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let socket = Dir::open(folder)?.open_socket(name, Owner::Uid(self.uid))?;
        // By the descriptor, so that what was checked is what is connected to: open(2), O_PATH.
        let stream = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await?;
        if stream.peer_cred()?.uid() != self.uid {
            let why = "php-fpm's socket is served by another user";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn only_a_socket_that_the_clones_user_serves_is_connected_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("php.sock"), folder.path().join("other.sock"));
        let uid = rustix::process::geteuid().as_raw();
        let socket = PhpSocket { path: path.clone(), uid };
        assert_eq!(socket.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);

        let listener = UnixListener::bind(&other).unwrap();
        symlink(&other, &path).unwrap();
        assert!(socket.connect().await.is_err(), "a link to a socket");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(socket.connect().await.unwrap_err().kind(), io::ErrorKind::PermissionDenied, "a file");

        std::fs::rename(&other, &path).unwrap();
        socket.connect().await.unwrap();
        listener.accept().await.unwrap();
        let of_another = PhpSocket { path, uid: uid + 1 };
        assert_eq!(of_another.connect().await.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
