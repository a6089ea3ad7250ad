//! Whether the addresses to listen on are free, and who holds those that are not.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::{Finding, Patient};

const CHECK: &str = "port";

/// Every traffic listener and the admin listener of the config.
pub(super) fn listeners(patient: &Patient) -> Vec<Finding> {
    let Some(checked) = patient.checked.as_ref().filter(|_| patient.here) else { return Vec::new() };
    let config = &checked.config;
    let traffic = config.server.listen.iter().map(|listen| listen.address);
    traffic
        .chain(config.admin.listen)
        .map(|address| listener(address, patient.status.as_ref().map(|s| s.pid)))
        .collect()
}

fn listener(address: SocketAddr, daemon: Option<u32>) -> Finding {
    if address.port() == 0 {
        return Finding::ok(CHECK, format!("{address}: any free port"));
    }
    let error = match TcpListener::bind(address) {
        Ok(_) if daemon.is_some() => {
            let found = format!("{address} is in the config, but the daemon does not listen there");
            return Finding::warn(CHECK, found, "`proxyctl reload` opens it; see `proxyctl status` for its listeners");
        }
        Ok(_) => return Finding::ok(CHECK, format!("{address} is free")),
        Err(error) => error,
    };
    // Kinds of errors are an open set: what is not known here is told as it is.
    let kind = error.kind();
    if kind == ErrorKind::AddrInUse {
        return taken(address, daemon);
    }
    if kind == ErrorKind::PermissionDenied {
        let advice = "give the daemon CAP_NET_BIND_SERVICE (the unit file does), or listen on a higher port";
        return Finding::warn(CHECK, format!("{address}: you may not listen on a port below 1024"), advice);
    }
    let advice = if kind == ErrorKind::AddrNotAvailable {
        "listen on 0.0.0.0, on [::], or on an address that `ip address` lists"
    } else {
        "listen elsewhere (server.listen, admin.listen)"
    };
    Finding::fail(CHECK, format!("{address} cannot be listened on: {error}"), advice)
}

fn taken(address: SocketAddr, daemon: Option<u32>) -> Finding {
    match (holder(address), daemon) {
        (Some((pid, _)), Some(daemon)) if pid == daemon => {
            Finding::ok(CHECK, format!("{address} is held by the daemon"))
        }
        (Some((pid, name)), _) => Finding::fail(
            CHECK,
            format!("{address} is held by {name}, pid {pid}"),
            "stop it, or listen elsewhere (server.listen, admin.listen)",
        ),
        (None, Some(_)) => {
            Finding::ok(CHECK, format!("{address} is held, by the daemon or somebody you may not look at"))
        }
        (None, None) => Finding::fail(
            CHECK,
            format!("{address} is held by a process you may not look at"),
            format!("find it as root with `ss -ltnp 'sport = :{}'`, or listen elsewhere", address.port()),
        ),
    }
}

/// The process that listens where `address` would, and its name.
fn holder(address: SocketAddr) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| {
            table.lines().filter_map(|line| listening(line, address)).map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| {
            std::fs::read_link(file.path())
                .is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        })
    })
    .map(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        (pid, name.trim().to_owned())
    })
}

/// The inode of a line of `/proc/net/tcp` whose socket listens (state 0A) where `address` would.
fn listening(line: &str, address: SocketAddr) -> Option<&str> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    (words.nth(1)? == "0A").then_some(())?;
    let inode = words.nth(5)?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = parsed(ip)?;
    let overlaps = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    (port == address.port() && overlaps).then_some(inode)
}

/// An address as `/proc/net` writes it: words of 32 bits in the machine's own byte order.
fn parsed(hex: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = hex
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [v4] => Some(IpAddr::V4(Ipv4Addr::from(*v4))),
        [_, _, _, _] => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_taken_port_names_its_holder() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(holder(address).map(|(pid, _)| pid), Some(std::process::id()));
        let stranger = listener(address, None);
        assert_eq!(stranger.verdict, Verdict::Fail);
        assert!(stranger.found.contains(&std::process::id().to_string()), "{stranger:?}");
        assert_eq!(listener(address, Some(std::process::id())).verdict, Verdict::Ok);
        drop(held);
        assert_eq!(listener(address, None).verdict, Verdict::Ok);
    }

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let line =
            "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100 0 0 10 0";
        let check = |line: &str, address: &str| listening(line, address.parse().unwrap()).map(str::to_owned);
        assert_eq!(check(line, "127.0.0.1:8080"), Some("4711".to_owned()));
        assert_eq!(check(line, "0.0.0.0:8080"), Some("4711".to_owned()));
        assert_eq!(check(line, "127.0.0.2:8080"), None);
        assert_eq!(check(line, "127.0.0.1:8081"), None);
        assert_eq!(check(&line.replace(" 0A ", " 01 "), "127.0.0.1:8080"), None);
        assert_eq!(check("garbage", "127.0.0.1:8080"), None);
        assert_eq!(parsed("00000000000000000000000001000000"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(parsed("xyz"), None);
    }
}
