//! The `runner-agent` command.
fn main() {
    let hierarchy = runner_agent::kernel::cgroup::Hierarchy::find().unwrap();
    let t = std::time::Instant::now();
    let mut kernel = match runner_agent::kernel::Kernel::load(&Default::default(), hierarchy.job_level()) { Ok(k) => k, Err(e) => { println!("{e}"); return; } };
    println!("loaded {:?}", t.elapsed());
    println!("{:?}", kernel.complexity());
    let mut keys = runner_agent::kernel::watch::WatchKeys::default();
    keys.name("credentials"); keys.suffix(*b"pem"); keys.directory("private-keys-v1.d");
    kernel.watch(&keys).unwrap();
    let job = hierarchy.create_job(&format!("runner-agent-test-{}", std::process::id())).unwrap();
    kernel.add_job(&job, 1).unwrap();
    kernel.attach_tracepoints().unwrap();
    println!("attached {:?}", t.elapsed());
    let args: Vec<String> = std::env::args().skip(1).collect();
    let status = std::process::Command::new("sh").arg("-c").arg(format!("echo 0 > {}/cgroup.procs; exec \"$@\"", job.path().display())).arg("sh").args(&args).status();
    println!("{status:?}");
    let mut n = 0;
    kernel.drain(|r| { n += 1; if n < 60 { println!("{} {:?}", u16::from_ne_bytes([r[40],r[41]]), String::from_utf8_lossy(&r[48..]).replace(|c: char| c.is_control(), ".")); } });
    println!("{n} {:?}", kernel.counters().unwrap());
}
