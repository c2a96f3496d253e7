//! Where the daemon is asked: a socket that systemd has opened, or one of its own.
//!
//! systemd's is there before the daemon and outlives it. Who comes too early, or while it is started again, waits in the
//! socket's queue; the kernel keeps who that was from the moment of the connect.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use super::serve::ServeError;

/// A socket that listens, and its path if that goes with the daemon.
pub(super) struct Door {
    listener: UnixListener,
    _bound: Option<Bound>,
}

impl Door {
    /// For the event loop, which has to be there.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

/// Removes the socket with the value.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A socket that whoever started the daemon has opened for it (sd_listen_fds(3)).
#[derive(Debug)]
pub struct Handed(UnixListener);

impl Handed {
    /// Takes it out of the environment, so that no child takes it for its own; asked before there is a second thread. It must
    /// be the one that listens at `path`: clients ask there, and would wait for ever at another.
    pub fn take(path: &Path) -> Result<Option<Self>, ServeError> {
        let own = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
        if !own {
            return Ok(None);
        }
        let mut handed = ListenFd::from_env();
        match handed.len() {
            0 => Ok(None),
            1 => {
                let taken = handed.take_unix_listener(0).and_then(|taken| is_right(taken, path));
                taken.map(Some).map_err(|source| ServeError::Handed { socket: path.to_owned(), source })
            }
            more => {
                let source = io::Error::other(format!("{more} descriptors were handed over; hand over one"));
                Err(ServeError::Handed { socket: path.to_owned(), source })
            }
        }
    }
}

fn is_right(taken: Option<UnixListener>, path: &Path) -> io::Result<Handed> {
    let listener = taken.ok_or_else(|| io::Error::other("nothing was handed over"))?;
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(io::Error::other("it doesn't listen; write ListenStream="));
    }
    let address = listener.local_addr()?;
    if address.as_pathname() != Some(path) {
        return Err(io::Error::other(format!(
            "it listens at {}; make `socket` in the configuration and ListenStream= in the unit the same path",
            address.as_pathname().map_or_else(|| "no path".to_owned(), |other| other.display().to_string())
        )));
    }
    Ok(Handed(listener))
}

/// The socket that was handed over, or one at that path. Everybody may connect: what may be asked is up to who asks.
pub(super) fn open(handed: Option<Handed>, path: &Path) -> Result<Door, ServeError> {
    if let Some(Handed(listener)) = handed {
        return Ok(Door { listener, _bound: None });
    }
    let failed = |source| ServeError::Listen { socket: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(ServeError::Taken(path.to_owned()));
    }
    // One that nobody answers at was left by a daemon that was killed.
    match fs::symlink_metadata(path) {
        Ok(left) if left.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        Ok(_) => return Err(failed(io::Error::other("something else lies there; name another place"))),
        Err(_) => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(Door { listener, _bound: Some(Bound(path.to_owned())) })
}
