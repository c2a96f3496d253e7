//! Changes of the file tree by which a job would take away, cover or add to what the agent stands on, or what the kernel starts by
//! itself, or hide a secret file.
//!
//! Hooks: `security_path_unlink(dir, dentry)`, `security_path_rmdir(dir, dentry)`, `security_path_mknod(dir, dentry, mode, dev)`
//! (of open(2) too), `security_path_mkdir(dir, dentry, mode)`, `security_path_symlink(dir, dentry, old_name)`,
//! `security_path_rename(old_dir, old_dentry, new_dir, new_dentry, flags)`, `security_path_link(old_dentry, new_dir, new_dentry)`, `security_path_truncate(path)`, `security_path_chmod(path, mode)`,
//! `security_path_chown(path, uid, gid)`, `security_sb_mount(dev, path, type, flags, data)`,
//! `security_move_mount(from, to)`, `security_sb_umount(mnt, flags)`, `security_sb_pivotroot(old, new)`; since 6.2
//! `security_file_truncate(file)`, which truncate(2) alone doesn't ask. Kernel floor: 5.10 (as `fmod_ret`), with
//! `CONFIG_SECURITY_PATH`.
//! Sees: guarded files and names, by any call. A secret file that gets another name is known by identity from then on.
//! In another mount namespace than the agent's only what is shared with others counts: the rest stays there.
//! Misses: whole file systems unmounted lazily from above, and mount(2) that moves one away (`MS_MOVE`), of which only the
//! place it goes to is asked; the agent looks for its pins itself.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use runner_agent_common::guard::{guarded, operation};

use crate::guard::{self, Attempt, PASS, REFUSE};
use crate::kernel::{Address, any, argument, offset, pointer, read};
use crate::secret;
use crate::task::{self, Member};

/// Flags of mount(2).
const MS_REMOUNT: u64 = 1 << 5;
const MS_BIND: u64 = 1 << 12;
/// Unbindable, private, slave, shared.
const MS_PROPAGATION: u64 = 0xf << 17;

/// A name is about to be removed.
#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    entry(&ctx, operation::REMOVE)
}

/// An empty folder is about to be removed.
#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    entry(&ctx, operation::REMOVE)
}

/// A file that isn't there yet is about to be: by open(2), mknod(2), or a socket's bind(2).
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    entry(&ctx, operation::WRITE)
}

/// A folder is about to be made.
#[lsm(hook = "path_mkdir")]
pub fn path_mkdir(ctx: LsmContext) -> i32 {
    entry(&ctx, operation::WRITE)
}

/// A symbolic link is about to be made.
#[lsm(hook = "path_symlink")]
pub fn path_symlink(ctx: LsmContext) -> i32 {
    entry(&ctx, operation::WRITE)
}

/// `RENAME_EXCHANGE` of renameat2(2).
const EXCHANGE: u64 = 1 << 1;

/// A name is about to become another, and perhaps to replace it.
#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let (from, old, to, new) = (argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 2), argument(&ctx, 3));
    // First, because it is long: the verifier would go through it once for each way through what is asked below.
    let mount = pointer(from, offset!(path_mnt));
    // Both are on one mount. Of two that change places each gets the other's name.
    let hides = hides(&member, mount, old) | (argument(&ctx, 4) & EXCHANGE != 0 && hides(&member, mount, new));
    let taken = guard::entry_operation(inode_at(from), old, operation::REMOVE);
    let given = guard::entry_operation(inode_at(to), new, operation::REMOVE);
    // What is done to the agent is refused where a setting isn't.
    let by_given = taken == 0 || (taken == operation::SETTING && given != 0);
    let (operation, dentry) = if by_given { (given, new) } else { (taken, old) };
    let (operation, dentry) = if operation == 0 && hides { (operation::READ_SECRET, old) } else { (operation, dentry) };
    answer_entry(&member, any(operation), any(dentry))
}

/// A file is about to get a second name.
#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let old = argument(&ctx, 0);
    let (to, new) = (argument(&ctx, 1), argument(&ctx, 2));
    // A link and its file are on one mount.
    let hides = hides(&member, pointer(to, offset!(path_mnt)), old);
    let operation = guard::entry_operation(inode_at(to), new, operation::WRITE);
    let (operation, dentry) = if operation == 0 && hides { (operation::READ_SECRET, old) } else { (operation, new) };
    answer_entry(&member, any(operation), any(dentry))
}

/// A file is about to be cut.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    content(argument(&ctx, 0))
}

/// An open file is about to be cut, or one that is opened with `O_TRUNC`, which takes no right to write.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(ctx: LsmContext) -> i32 {
    content(argument(&ctx, 0) + offset!(file_path))
}

/// A file is about to get another mode.
#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    content(argument(&ctx, 0))
}

/// A file is about to get another owner.
#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    content(argument(&ctx, 0))
}

/// Something is about to be mounted, or mounted otherwise.
#[lsm(hook = "sb_mount")]
pub fn sb_mount(ctx: LsmContext) -> i32 {
    let flags: u64 = argument(&ctx, 3);
    let Some(member) = task::current_member() else { return PASS };
    // Whoever makes a namespace first says whose mounts it shares from now on, which covers nothing; the kernel looks for that last.
    let says_who_shares = flags & (MS_REMOUNT | MS_BIND) == 0 && flags & MS_PROPAGATION != 0;
    if says_who_shares && !task::is_in_agents_mounts(member.task) {
        return PASS;
    }
    covers(&member, argument(&ctx, 1))
}

/// A mount is about to move here.
#[lsm(hook = "move_mount")]
pub fn move_mount(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    if moves_away(&member, argument(&ctx, 0)) != PASS {
        return REFUSE;
    }
    covers(&member, argument(&ctx, 1))
}

/// Another root is about to take the place of everybody's in this namespace.
#[lsm(hook = "sb_pivotroot")]
pub fn sb_pivotroot(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    if !task::is_in_agents_mounts(member.task) {
        return PASS;
    }
    guard::answer_at(&member, &Attempt::new(operation::MOUNT, 0), argument(&ctx, 1))
}

/// A mount is about to go.
#[lsm(hook = "sb_umount")]
pub fn sb_umount(ctx: LsmContext) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let root = pointer(argument(&ctx, 0), offset!(vfsmount_root));
    if guard::guarded(pointer(root, offset!(dentry_inode))) & guarded::COVER == 0 {
        return PASS;
    }
    // Who makes a container leaves the old root behind this way, in a namespace of its own: the agent's mounts stay.
    let mount = argument(&ctx, 0) - offset!(mount_mnt);
    let is_shared = is_shared(mount) || is_shared(pointer(mount, offset!(mount_parent)));
    if !is_shared && !task::is_in_agents_mounts(member.task) {
        return PASS;
    }
    guard::answer_named(&member, &Attempt::new(operation::MOUNT, 0), root)
}

/// A name in a folder, for whose `struct path` and directory entry the function is asked.
#[inline(always)]
fn entry(ctx: &LsmContext, at_agent: u16) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let dentry = argument(ctx, 1);
    answer_entry(&member, any(guard::entry_operation(inode_at(argument(ctx, 0)), dentry, at_agent)), dentry)
}

#[inline(always)]
fn answer_entry(member: &Member, operation: u16, dentry: Address) -> i32 {
    if operation == 0 { PASS } else { guard::answer_named(member, &Attempt::new(operation, 0), dentry) }
}

/// The inode at a `struct path`.
#[inline(always)]
fn inode_at(place: Address) -> Address {
    pointer(pointer(place, offset!(path_dentry)), offset!(dentry_inode))
}

/// A file whose content or rights change, by its `struct path`.
#[inline(always)]
fn content(place: Address) -> i32 {
    let Some(member) = task::current_member() else { return PASS };
    let bits = guard::guarded(inode_at(place));
    let operation = if bits & guarded::CONTENT != 0 {
        operation::WRITE
    } else if bits & guarded::STARTED != 0 {
        operation::SETTING
    } else {
        return PASS;
    };
    guard::answer_at(&member, &Attempt::new(operation, 0), place)
}

/// A place that a mount would cover, by its `struct path`.
#[inline(always)]
fn covers(member: &Member, place: Address) -> i32 {
    let bits = guard::guarded(inode_at(place));
    let operation = if bits & guarded::COVER != 0 {
        operation::MOUNT
    } else if bits & (guarded::STARTED | guarded::LEADS) != 0 {
        operation::SETTING
    } else {
        return PASS;
    };
    let mount = pointer(place, offset!(path_mnt)) - offset!(mount_mnt);
    if !is_shared(mount) && !task::is_in_agents_mounts(member.task) {
        return PASS;
    }
    guard::answer_at(member, &Attempt::new(operation, 0), place)
}

/// A mount that would go from where it is, by its `struct path`. A copy that is nowhere yet takes nothing away.
#[inline(always)]
fn moves_away(member: &Member, place: Address) -> i32 {
    let inode = inode_at(place);
    let mount = pointer(place, offset!(path_mnt)) - offset!(mount_mnt);
    if guard::guarded(inode) & guarded::COVER == 0 || pointer(mount, offset!(mount_parent)) == mount {
        return PASS;
    }
    if !is_shared(mount) && !task::is_in_agents_mounts(member.task) {
        return PASS;
    }
    guard::answer_at(member, &Attempt::new(operation::MOUNT, 0), place)
}

/// Whether what happens to a `struct mount` happens in other namespaces too: its peers', of which the agent's may be one.
#[inline(always)]
fn is_shared(mount: Address) -> bool {
    read::<u32>(mount + offset!(mount_group)) != 0
}

/// A file that may be secret by its path gets, or has, another name: it is looked at while its path still says what it is. True
/// where it is secret and would be lost sight of under the new one, because the room for files known by identity is taken.
#[inline(always)]
fn hides(member: &Member, mount: Address, dentry: Address) -> bool {
    // What it is stays known by identity; that it was named anew is no read.
    secret::is_decided(member.job)
        && secret::class_of(mount, dentry, pointer(dentry, offset!(dentry_inode)), member.job) & secret::UNTRACKED != 0
}
