//! Whose rights a script has.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use crate::outcome::StartError;

/// A user of this host, with all its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// Looks up a user whose rights this process can take on.
    ///
    /// # Errors
    ///
    /// There is none of this name, or this process is neither root nor that user.
    pub fn find(name: &str) -> Result<Self, StartError> {
        let refused = |problem: String| Err(StartError::User { name: name.to_owned(), problem });
        let user = match unistd::User::from_name(name) {
            Ok(Some(user)) => user,
            Ok(None) => return refused("does not exist; create it or correct `user`".into()),
            Err(error) => return refused(format!("can't be looked up: {error}")),
        };
        let own = unistd::geteuid();
        if !own.is_root() && own != user.uid {
            let problem = "can only be taken on by root; run the exporter as root or remove `user`";
            return refused(problem.into());
        }
        let login = CString::new(name).map_err(io::Error::from);
        let groups = login.and_then(|login| Ok(unistd::getgrouplist(&login, user.gid)?));
        match groups {
            Ok(groups) => Ok(Self {
                name: user.name,
                uid: user.uid,
                home: user.dir,
                shell: user.shell,
                gid: user.gid,
                groups,
            }),
            Err(error) => refused(format!("has groups that can't be looked up: {error}")),
        }
    }

    /// Gives this process the rights of the user, for good. Only makes system calls, so that it can
    /// be done between fork and exec.
    pub(crate) fn take_on(&self) -> Result<(), Errno> {
        if !unistd::geteuid().is_root() {
            // It is this process's own user already.
            return Ok(());
        }
        unistd::setgroups(&self.groups)?;
        unistd::setgid(self.gid)?;
        unistd::setuid(self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_its_groups() {
        let own = unistd::User::from_uid(unistd::geteuid()).unwrap().unwrap();
        let user = User::find(&own.name).unwrap();
        assert_eq!((user.uid, user.home), (own.uid, own.dir));
        assert!(user.groups.contains(&own.gid));
        assert_eq!(
            User::find("no-such-user").unwrap_err().to_string(),
            "user 'no-such-user' does not exist; create it or correct `user`"
        );
    }
}
