//! The command that becomes a provider's process: the host's own program, which takes limits on itself, gives up what
//! is not the provider's (`confine`), and then is replaced by the provider's program. What it does is the binary's.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::group::Group;
use super::launch::Program;
use crate::config::{Confinement, Native, User};

/// What a provider may see of a system that refuses it a file.
const REFUSED: &str = "Permission denied";

/// The directory for temporary files of the provider whose directory is `data_dir`. It lies beside it, so that nothing
/// of it shows among what the provider keeps; no provider's id has a dot.
pub(crate) fn temporary_dir(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("tmp")
}

/// The command that becomes `program`, whose files are in `data_dir`.
pub(super) fn command(program: &Program, native: &Native, data_dir: &Path, group: &Group) -> Command {
    let Some(own) = &native.own else {
        let mut command = Command::new(&program.file);
        command.args(&program.arguments).env_clear();
        if let Some(User { uid, gid }) = native.user {
            command.uid(uid).gid(gid);
        }
        return command;
    };
    let temporary = temporary_dir(data_dir);
    let mut command = Command::new(own);
    command.env_clear().env("TMPDIR", &temporary).arg("confine");
    command.arg(format!("--host-pid={}", std::process::id()));
    limits(&mut command, native);
    if let Some(User { uid, gid }) = native.user {
        command.arg(format!("--user={uid}:{gid}"));
    }
    for folder in group.folders() {
        command.arg("--group").arg(folder);
    }
    command.arg("--confinement").arg(match native.confinement {
        Confinement::Off => "off",
        Confinement::Prefer => "prefer",
        Confinement::Require => "require",
    });
    for path in &native.readable {
        command.arg("--read").arg(path);
    }
    for path in native.writable.iter().map(PathBuf::as_path).chain([data_dir, &temporary]) {
        command.arg("--write").arg(path);
    }
    if program.file == *own {
        // Its servers hand their ports over by them when they are replaced.
        command.arg("--unix-sockets");
    }
    command.arg("--").arg(&program.file).args(&program.arguments);
    command
}

fn limits(command: &mut Command, native: &Native) {
    let limits = &native.limits;
    command.arg(format!("--memory-bytes={}", limits.memory_bytes));
    command.arg(format!("--open-files={}", limits.open_files));
    command.arg(format!("--file-bytes={}", limits.disk_bytes));
    if native.user.is_some() {
        // The system counts all processes of a user: with the host's own it would count the host.
        command.arg(format!("--processes={}", limits.processes));
    }
}

/// The reason that a process gave, with the way out where the system refused it a file.
pub(super) fn explained(reason: String, native: &Native) -> String {
    let is_confined = native.own.is_some() && native.confinement != Confinement::Off;
    if !is_confined || !reason.contains(REFUSED) {
        return reason;
    }
    format!(
        "{reason}; a provider that is a process reaches files outside of its own folder only where its host was started \
         with --provider-read PATH or --provider-write PATH"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::group::Group;
    use super::super::launch::Program;
    use super::{command, explained, temporary_dir};
    use crate::config::{Confinement, Native, User};

    fn arguments(native: &Native) -> Vec<String> {
        let program = Program { file: "/opt/dice".into(), arguments: vec!["a".into()] };
        let command = command(&program, native, Path::new("/data/dice"), &Group::default());
        let command = command.as_std();
        let all = std::iter::once(command.get_program()).chain(command.get_args());
        all.map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_program_is_started_by_way_of_the_hosts_own() {
        assert_eq!(arguments(&Native::default()), ["/opt/dice", "a"]);
        let native = Native {
            own: Some("/bin/trellis".into()),
            readable: vec!["/srv/ca.pem".into()],
            user: Some(User { uid: 7, gid: 8 }),
            ..Native::default()
        };
        let all = arguments(&native);
        assert_eq!(all[..2], ["/bin/trellis", "confine"]);
        assert_eq!(all[all.len() - 3..], ["--", "/opt/dice", "a"]);
        let said = all.join(" ");
        for part in [
            "--user=7:8 ",
            "--processes=512 ",
            "--confinement prefer ",
            "--read /srv/ca.pem ",
            "--write /data/dice ",
            "--write /data/dice.tmp ",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn what_the_system_refuses_is_told_with_the_way_out() {
        let refused = || "cannot open /srv/a: Permission denied (os error 13)".to_owned();
        assert_eq!(explained(refused(), &Native::default()), refused());
        let confined = Native { own: Some("/bin/trellis".into()), ..Native::default() };
        assert!(explained(refused(), &confined).contains("--provider-write"));
        assert_eq!(explained("no such device".to_owned(), &confined), "no such device");
        let off = Native { confinement: Confinement::Off, ..confined };
        assert_eq!(explained(refused(), &off), refused());
    }

    #[test]
    fn temporary_files_lie_beside_those_that_are_kept() {
        assert_eq!(temporary_dir(Path::new("/data/dice")), Path::new("/data/dice.tmp"));
    }
}
