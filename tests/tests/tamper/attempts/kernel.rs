//! At the kernel, and at the programs and maps that the agent has there.

use crate::attempt::Outcome::{Denied, Missed};
use crate::attempt::{Attempt, Told, kernel};

const REPAIRED: &[Told] = &[Told::Agent("repaired")];
const PROBES: &[Told] = &[Told::Finding("process-access")];
const DISARMED: &[Told] = &[Told::Finding("kernel-tampering"), Told::Agent("disarmed")];

pub const ATTEMPTS: &[Attempt] = &[
    kernel("bpf_get_pin", "bpf(2): what is pinned", "exec {act} attack get-pin {pin}"),
    kernel("bpf_program", "bpf(2): a program by its id", "exec {act} attack program-by-id none"),
    kernel("bpf_map", "bpf(2): a map of the agent's by its id", "exec {act} attack map-by-id {guards}"),
    kernel("bpf_link", "bpf(2): a link of the agent's by its id", "exec {act} attack link-by-id {link}"),
    kernel("bpf_detach", "bpf(2): a hook of the agent's, let go", "exec {act} attack detach {link}")
        .told(DISARMED)
        .fatal(),
    kernel("bpf_change", "bpf(2): what is denied, emptied", "exec {act} attack change-map {guards} 1").told(REPAIRED),
    kernel("clock", "clock_settime(2)", "exec {act} attack set-clock 0").always(Denied),
    kernel("clock_of_day", "settimeofday(2)", "exec {act} attack set-time-of-day 0").always(Denied),
    kernel("clock_adjust", "clock_adjtime(2)", "exec {act} attack adjust-clock none").always(Denied),
    kernel(
        "core_pattern",
        "core_pattern, opened for writing",
        "exec {act} footing open-for-writing /proc/sys/kernel/core_pattern",
    ),
    kernel("modprobe", "modprobe, opened for writing", "exec {act} footing open-for-writing /proc/sys/kernel/modprobe"),
    kernel("sysrq", "sysrq-trigger, opened for writing", "exec {act} footing open-for-writing /proc/sysrq-trigger"),
    kernel("sysrq_mask", "sysrq, opened for writing", "exec {act} footing open-for-writing /proc/sys/kernel/sysrq"),
    kernel(
        "overcommit",
        "overcommit_memory, opened for writing",
        "exec {act} footing open-for-writing /proc/sys/vm/overcommit_memory",
    ),
    kernel(
        "modprobe_folder",
        "a folder that modprobe(8) would read, made",
        "{act} footing create-folder /run/modprobe.d && rmdir /run/modprobe.d",
    )
    .expect(Missed, Denied)
    .guest("it would be this machine's"),
    kernel(
        "request_key",
        "a program that the kernel would start, made",
        "{act} footing create /sbin/request-key && rm /sbin/request-key",
    )
    .guest("it would be this machine's"),
    kernel(
        "request_key_moved",
        "the same, moved there",
        "touch /sbin/other; {act} footing rename /sbin/other /sbin/request-key && rm /sbin/request-key",
    )
    .expect(Missed, Denied)
    .guest("it would be this machine's"),
    kernel(
        "preload",
        "a library for every program, by ld.so.preload",
        "{act} footing create /etc/ld.so.preload && rm /etc/ld.so.preload",
    )
    .guest("it would be this machine's"),
    kernel(
        "uevent_helper",
        "uevent_helper, opened for writing",
        "exec {act} footing open-for-writing /sys/kernel/uevent_helper",
    ),
    kernel(
        "binfmt",
        "binfmt_misc's register, opened for writing",
        "mkdir -p {home}/b; mount -t binfmt_misc none {home}/b; exec {act} footing open-for-writing {home}/b/register",
    ),
    kernel(
        "ftrace",
        "ftrace_enabled, opened for writing",
        "exec {act} footing open-for-writing /proc/sys/kernel/ftrace_enabled",
    )
    .told(&[Told::Finding("agent-tampering")]),
    kernel(
        "uprobes",
        "probes of any program by tracefs, opened for writing",
        "mkdir -p {home}/t; mount -t tracefs t {home}/t && exec {act} footing open-for-writing {home}/t/uprobe_events",
    )
    .told(PROBES)
    .guest("tracefs is this machine's"),
    kernel("sample", "all programs of a CPU, by perf_event_open(2)", "exec {act} attack sample none").told(PROBES),
    // Nothing has that table.
    kernel("network", "a route deleted, by netlink", "exec ip route del 203.0.113.0/24 table 4242")
        .told(&[Told::Finding("network-change")])
        .always(Denied),
    kernel("module_from_file", "finit_module(2)", "exec {act} attack module-from-file none").always(Denied),
    kernel("module_from_memory", "init_module(2)", "exec {act} attack module-from-memory none").always(Denied),
    kernel("module_remove", "delete_module(2)", "exec {act} attack remove-module none").always(Denied),
    kernel("kexec", "kexec_load(2)", "exec {act} attack kexec none").always(Denied),
    kernel("restart", "reboot(2), with a wrong magic number", "exec {act} attack restart-wrongly none").always(Denied),
];
