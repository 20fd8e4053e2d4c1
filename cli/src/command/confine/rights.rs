//! As whom a process runs, and what of a superuser's rights it keeps.

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_thread_gid, set_thread_groups, set_thread_uid,
};
use trellis_host::config::User;

/// What a provider may keep where its host has it: a server on port 80 needs it.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// Becomes `user`, if there is one to become, and keeps no right of a superuser but those of [`KEPT`], now and after
/// the program was changed.
pub(super) fn give_up(user: Option<User>) -> anyhow::Result<()> {
    forget_others()?;
    become_user(user)?;
    let own = capabilities(None).context("ask for the rights of this process")?;
    let kept = CapabilitySets {
        effective: own.effective & KEPT,
        permitted: own.permitted & KEPT,
        inheritable: own.inheritable & KEPT,
    };
    if kept.permitted.is_empty() {
        clear_ambient_capability_set().context("give up rights that programs inherit")?;
    }
    set_capabilities(None, kept).context("give up rights")
}

/// A superuser's next program has all rights that are not forgotten.
fn forget_others() -> anyhow::Result<()> {
    for right in CapabilitySet::all().iter().filter(|right| !KEPT.contains(*right)) {
        match remove_capability_from_bounding_set(right) {
            // Without the right to forget there is none that comes back; and a kernel may know fewer than we do.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(error).context("forget the rights of a superuser"),
        }
    }
    Ok(())
}

/// Becomes `user`, if there is one to become. One thread is all that there is yet.
pub(super) fn become_user(user: Option<User>) -> anyhow::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    let change = || -> rustix::io::Result<()> {
        // Others have no groups that they could leave.
        if getuid().is_root() {
            set_thread_groups(&[])?;
        }
        set_thread_gid(Gid::from_raw(gid))?;
        set_thread_uid(Uid::from_raw(uid))
    };
    change().with_context(|| format!("become the user {uid}:{gid}"))
}
