#!/bin/bash
# In a guest whose first process is Debian's systemd, as root: the package laid out, its unit started as an image starts it; readiness,
# watchdog, a restart in the middle of a job, and a credential that a sink asks for.
#
#   systemd.sh PACKAGE.deb RECORDED.env RECORDED.json
set -eu
package=$1 environment=$2 event=$3
runner=1001
unit='runner-agent.service'

say() { printf '── %s\n' "$*"; }
show() { systemctl show --value --property="$1" $unit; }
fail() {
    echo "failed: $*"
    systemctl status --no-pager --full $unit || true
    journalctl --no-pager --unit=$unit --lines=60 || true
    exit 1
}
wait_for() { # SECONDS WHAT COMMAND…
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $until ] || fail "not so within the time: $what"
        sleep 0.2
    done
}

is_up() { systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded'; }
wait_for 120 'systemd has started its targets' is_up
say "first process: $(readlink /proc/1/exe), $(systemctl --version | head -n 1)"
systemctl start systemd-journald.service

dpkg-deb -x "$package" /
sed -i "s/^#owner: .*/owner: $runner/" /etc/runner-agent/config.yml
# An emulated processor takes half a minute to verify what is loaded, and the hooks wait five seconds. Nothing else is changed.
sed -i 's/--deadline 5/--deadline 120/' /usr/lib/runner-agent/hooks/*.sh
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nTimeoutStartSec=5min\n' >/etc/systemd/system/$unit.d/slow.conf
systemctl daemon-reload
systemctl enable --quiet $unit
systemctl start $unit || fail 'the service starts'
[ "$(show ActiveState)/$(show SubState)/$(show NotifyAccess)" = active/running/main ] || fail 'the service has said that it is ready'
say "ready: main process $(show MainPID), $(($(show ActiveEnterTimestampMonotonic) - $(show ExecMainStartTimestampMonotonic))) µs after its start"
runner-agent job status

say 'a job of an unprivileged user, under which the service is restarted'
# The service has a /tmp of its own.
home=/home/runner
mkdir -p $home
cp "$event" $home/event.json
variables=()
while IFS= read -r line; do
    case $line in '' | '#'* | GITHUB_EVENT_PATH=*) ;; *) variables+=("$line") ;; esac
done <"$environment"
variables+=("GITHUB_EVENT_PATH=$home/event.json" "PATH=$PATH" "HOME=$home")
chown -R $runner $home
cat >/tmp/job.sh <<'JOB'
refused() { (exec 3<>/dev/tcp/203.0.113.7/443) 2>&1 | grep -q 'not permitted'; }
/usr/lib/runner-agent/hooks/job-started.sh || exit
echo 'started hook: 0'
refused && echo 'before the restart: refused'
: >"$HOME/begun"
tries=0 gaps=0
until [ -e /tmp/restarted ]; do
    refused || gaps=$((gaps + 1))
    tries=$((tries + 1))
done
echo "while it restarted: tries $tries, of these not refused $gaps"
refused && echo 'after the restart: refused'
/usr/lib/runner-agent/hooks/job-completed.sh
echo "completed hook: $?"
JOB
env -i "${variables[@]}" setpriv --reuid=$runner --regid=$runner --clear-groups bash /tmp/job.sh >/tmp/said 2>&1 &
job=$!
begun() { [ -e $home/begun ] || ! kill -0 $job; }
wait_for 120 'the job has begun' begun
[ -e $home/begun ] || { cat /tmp/said; fail 'the job begins'; }
before=$(show MainPID)
systemctl restart $unit || fail 'the service starts again'
[ "$(show MainPID)" != "$before" ] || fail 'the restart made another process'
say "restarted: main process $before, then $(show MainPID)"
: >/tmp/restarted
# The next daemon has given the job to a keeper, so that no job of its own is over for the completed hook: that fails, as it should
# where there is no account.
wait $job || true
cat /tmp/said
for line in 'started hook: 0' 'before the restart: refused' 'after the restart: refused'; do
    grep -q "^$line\$" /tmp/said || fail "not said: $line"
done
grep -q "^completed hook: 125\$" /tmp/said || fail 'the completed hook has no account of a job that another daemon began'
grep -Eq '^while it restarted: tries [1-9][0-9]*, of these not refused 0$' /tmp/said || fail 'the rules had a gap'

log=$(ls /var/log/runner-agent/*.jsonl)
is_over() { grep -q '"state":"taken-over"' "$log" && grep -q '"kind":"job".*"state":"ended"' "$log"; }
wait_for 120 'the keeper goes on with the log, to the job'"'"'s end' is_over
say "its log: $(wc -l <"$log") lines, $(grep -c '"verdict":"blocked"' "$log" || true) of them refusals"

say 'the watchdog is told that it goes on'
first=$(show WatchdogTimestampMonotonic)
[ "$first" -gt 0 ] || fail 'a watchdog is set'
pinged() { [ "$(show WatchdogTimestampMonotonic)" -gt "$first" ]; }
wait_for 90 'a ping' pinged
say "pings $(($(show WatchdogTimestampMonotonic) - first)) µs apart; restarts by the watchdog: $(show NRestarts)"
[ "$(show NRestarts)" = 0 ] || fail 'nothing but us restarted it'

say 'a secret as a credential'
cat >>/etc/runner-agent/config.yml <<'SINK'
sinks:
  - { name: soc, type: webhook, url: "http://127.0.0.1:9/", drain: 1s, sign: { hmac: { credential: soc } } }
SINK
systemctl restart $unit && fail 'without its credential the service does not start'
systemctl stop $unit
journalctl --no-pager --unit=$unit --lines=20 | grep -i 'credential' || fail 'it says which credential it lacks'
(umask 077; echo "whsec_$(head -c 32 /dev/urandom | base64)" >/etc/runner-agent/soc.key)
printf '[Service]\nLoadCredential=soc:/etc/runner-agent/soc.key\n' >/etc/systemd/system/$unit.d/soc.conf
systemctl daemon-reload
systemctl reset-failed $unit
systemctl start $unit || fail 'with its credential the service starts'
say "with it: $(show ActiveState)"
systemctl stop $unit || fail 'the service stops'
[ "$(show Result)" = success ] || fail 'it ends well'
say 'all of it held'
