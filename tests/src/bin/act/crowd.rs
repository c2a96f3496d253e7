//! So many processes at once that an agent can't remember them all.

use std::ffi::{OsString, c_int, c_void};
use std::fs::File;
use std::io;
use std::path::Path;

use crate::space::clone_into;
use crate::{Trick, parsed, returned};

pub const TRICKS: &[(&str, Trick)] = &[("born-outside", born_outside)];

/// Processes that wait to be ended; they share everything with this one, because together they would need more memory than there is.
struct Crowd {
    all: Vec<c_int>,
    /// A page for each.
    stacks: Vec<Stack>,
}

/// As a processor wants a stack to end.
#[repr(align(16))]
#[derive(Clone)]
struct Stack([u8; 4096]);

extern "C" fn wait(_: *mut c_void) -> c_int {
    loop {
        // SAFETY: no preconditions.
        unsafe { libc::pause() };
    }
}

impl Crowd {
    fn of(count: usize) -> io::Result<Self> {
        let mut crowd = Self { all: Vec::with_capacity(count), stacks: vec![Stack([0; 4096]); count] };
        let shared = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND;
        for stack in &mut crowd.stacks {
            let end = stack.0.as_mut_ptr_range().end;
            // SAFETY: the stack is the child's alone, and is let go when that has ended.
            let child = unsafe { libc::clone(wait, end.cast(), shared | libc::SIGCHLD, std::ptr::null_mut()) };
            crowd.all.push(returned(i64::from(child))? as c_int);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for &one in &self.all {
            // SAFETY: a child of this process, which has not been waited for.
            unsafe { libc::kill(one, libc::SIGKILL) };
        }
        for &one in &self.all {
            // SAFETY: as above; no memory is handed over.
            unsafe { libc::waitpid(one, std::ptr::null_mut(), 0) };
        }
    }
}

/// COUNT CGROUP FILE: a child that is born in that cgroup makes the file; once alone, and once while COUNT others are there. Says how
/// each ended.
fn born_outside(arguments: &[OsString]) -> io::Result<()> {
    let cgroup = File::open(&arguments[1])?;
    crate::say(&born_into(&cgroup, Path::new(&arguments[2]))?)?;
    let crowd = Crowd::of(parsed(arguments, 0)?)?;
    let ended = born_into(&cgroup, Path::new(&arguments[2]));
    drop(crowd);
    crate::say(&ended?)
}

fn born_into(cgroup: &File, file: &Path) -> io::Result<String> {
    let child = clone_into(cgroup, 0)?;
    if child == 0 {
        std::process::exit(i32::from(File::create(file).is_err()));
    }
    let mut status = 0;
    // SAFETY: waits for the child made above, and the status lives through the call.
    returned(i64::from(unsafe { libc::waitpid(child as i32, &raw mut status, 0) }))?;
    Ok(if libc::WIFSIGNALED(status) {
        format!("signal {}", libc::WTERMSIG(status))
    } else {
        format!("code {}", libc::WEXITSTATUS(status))
    })
}
