//! What did a process cost, and what else did the machine do?
//!
//! Needs Linux's `/proc`. Proves nothing about the machine: it reads what the kernel counted, in ticks of
//! 10 ms. Time in interrupts belongs to nobody there and is left out on both sides: while packets cross the
//! loopback interface it is mostly ours. Time stolen by the hypervisor counts as somebody else's.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Microseconds of a kernel tick: `USER_HZ` is 100 on every Linux that this runs on.
const TICK_MICROS: u64 = 10_000;
/// Bytes of a log that are shown when a process fails.
const LOG_BYTES_SHOWN: usize = 2000;

/// A child that ends with its owner.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` on one core, if there is a choice, with its output in `log`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        core: Option<usize>,
        log: PathBuf,
    ) -> io::Result<Self> {
        let out = fs::File::create(&log)?;
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let command = command.args(arguments).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let started = command.spawn();
        let child = started.map_err(|error| {
            io::Error::other(format!("cannot start `{}`, build it first: {error}", program.display()))
        })?;
        Ok(Self { child, log })
    }

    /// Its id; `taskset` becomes the program that it starts, so it stays the same.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it wrote.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_BYTES_SHOWN);
        String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process, all its threads, in microseconds.
pub(crate) fn cpu_micros(id: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    cpu_of_stat(&stat).ok_or_else(|| io::Error::other(format!("`/proc/{id}/stat` has an unknown form")))
}

/// The name of the program, in parentheses, may hold anything: fields count from the last one.
fn cpu_of_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_MICROS)
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident_kib: u64,
    /// At its highest.
    pub(crate) peak_kib: u64,
}

/// Reads the memory of a process.
pub(crate) fn memory(id: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    Ok(Memory { resident_kib: field("VmRSS:"), peak_kib: field("VmHWM:") })
}

/// Time that these cores spent on processes, or had stolen, in microseconds.
pub(crate) fn machine_micros(cores: &[usize]) -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let of_core = |core: &usize| {
        micros_of_core(&stat, *core)
            .ok_or_else(|| io::Error::other(format!("`/proc/stat` does not count core {core}")))
    };
    cores.iter().map(of_core).sum()
}

fn micros_of_core(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let [user, nice, system, _, _, _, _, steal, ..] = fields.as_slice() else { return None };
    Some((user + nice + system + steal) * TICK_MICROS)
}

/// The cores that this process may use.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    Ok(cores_of_list(list.trim()))
}

fn cores_of_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Moves this process to one core. Threads that are started later follow.
pub(crate) fn pin_self(core: usize) -> io::Result<()> {
    let own = std::process::id().to_string();
    let mut command = Command::new("taskset");
    let status = command.args(["-p", "-c", &core.to_string(), &own]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("`taskset` cannot pin this process")) }
}

/// Whether `taskset` is there.
pub(crate) fn can_pin() -> bool {
    Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The processor's name.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        text.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The kernel's version, without the build's name.
pub(crate) fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().split('-').next().unwrap_or_default().to_owned()
}

/// An address on the loopback interface that was free a moment ago: these servers print no port of their own.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_files_are_read_by_their_fields() {
        let stat = "42 (a) b) c) S 1 42 42 0 -1 4194304 10 0 0 0 7 5 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu_of_stat(stat), Some(120_000));
        assert_eq!(cpu_of_stat("42 (a)"), None);
        let stat = "cpu  9 9 9 9 9 9 9 9\ncpu1 1 2 3 100 9 9 9 4 0 0\ncpu10 7\nintr 1";
        assert_eq!([0, 1, 10].map(|core| micros_of_core(stat, core)), [None, Some(100_000), None]);
        assert_eq!(cores_of_list("0-2,5,7-7"), [0, 1, 2, 5, 7]);
    }

    #[test]
    fn this_process_has_spent_time_and_memory() {
        let own = std::process::id();
        assert!(memory(own).unwrap().peak_kib >= memory(own).unwrap().resident_kib / 2);
        assert!(cpu_micros(own).is_ok());
        assert!(machine_micros(&cores().unwrap()).unwrap() > 0);
    }
}
