//! The names and addresses of this host.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

use crate::lab::label;

/// Every name and address by which clients may know this host, and those that are `also` said.
pub fn names(also: &[String]) -> Vec<String> {
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    names.extend(own_name());
    names.extend(also.iter().cloned());
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface.address.and_then(|address| {
            let four = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
        });
        // An address that is nothing without its interface is no address for a certificate.
        names.extend(address.filter(|it| !is_link_local(*it)).map(|it| it.to_string()));
    }
    names.into_iter().collect()
}

/// The name of this host, if it can be in a certificate.
pub fn own_name() -> Option<String> {
    let name = gethostname().ok()?.into_string().ok()?.to_ascii_lowercase();
    label::is_domain(&name).then_some(name)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_there_at_least() {
        let names = names(&["lab.example".into()]);
        for name in ["localhost", "127.0.0.1", "lab.example"] {
            assert!(names.iter().any(|known| known == name), "{names:?}");
        }
    }
}
