#!/bin/bash
# In a guest whose first process is Debian's systemd, as root: the package installed, a runner that is bound to it, its service started
# by its socket; upgraded and restarted in the middle of a job, ended by the watchdog in the middle of another; a credential that a
# sink asks for; removed, purged.
#
#   systemd.sh PACKAGE.deb RECORDED.env RECORDED.json
set -eu
package=$1 environment=$2 event=$3
runner=1001
unit='runner-agent.service'
socket='runner-agent.socket'
bound='actions.runner.example.service'

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

say 'dpkg installs it, enables both units and starts none'
# A machine on which nothing was installed yet.
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/log
touch /var/lib/dpkg/status /var/lib/dpkg/available
installed() { dpkg-query --show --showformat='${Version} ${db:Status-Status}\n' runner-agent; }
enabled() { systemctl is-enabled $unit $socket 2>/dev/null | tr '\n' ' '; }
active() { systemctl is-active "$@" 2>/dev/null | tr '\n' ' ' || true; }
dpkg --install "$package" || fail 'dpkg installs the package'
say "$(installed), $(enabled)"
[ "$(enabled)" = 'enabled enabled ' ] || fail 'both units are enabled'
[ "$(active $unit $socket)" = 'inactive inactive ' ] || fail 'installing starts nothing'

sed -i "s/^#owner: .*/owner: $runner/" /etc/runner-agent/config.yml

# An emulated processor takes half a minute to verify what is loaded, and the hooks wait five seconds. Nothing else is changed.
patient_hooks() { sed -i 's/--deadline [0-9]*/--deadline 240/' /usr/lib/runner-agent/hooks/*.sh; }
patient_hooks
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nTimeoutStartSec=5min\n' >/etc/systemd/system/$unit.d/slow.conf

say 'a runner that is bound to the agent starts with it alone'
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' >/etc/systemd/system/$bound
install -D -m 0644 /usr/share/runner-agent/runner.conf /etc/systemd/system/$bound.d/runner-agent.conf
systemctl daemon-reload
systemctl show --property=Environment $bound | grep -q 'ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/lib/runner-agent/hooks/job-started.sh' ||
    fail 'the runner is told of the hooks'
is_without_runner() { [ "$(active $bound)" = 'inactive ' ] && [ -z "$(systemctl show --value --property=ExecMainStartTimestamp $bound)" ]; }
systemctl mask --quiet $unit
systemctl start $bound && fail 'a runner starts whose agent is masked'
is_without_runner || fail 'a runner has run without the agent, which is masked'
systemctl unmask --quiet $unit
cp /etc/runner-agent/config.yml /tmp/config.yml
echo 'no-such-key: 1' >>/etc/runner-agent/config.yml
systemctl start $bound && fail 'a runner starts whose agent fails'
has_failed() { [ "$(show ActiveState)" = failed ]; }
wait_for 120 'systemd gives the agent up' has_failed
is_without_runner || fail 'a runner has run without the agent, which has failed'
say "the agent: $(show ActiveState), $(show Result), exit $(show ExecMainStatus); the runner: $(active $bound)"
mv /tmp/config.yml /etc/runner-agent/config.yml
systemctl stop $unit $socket
systemctl reset-failed $unit $socket

systemctl start $socket || fail 'the socket is opened'
path=/run/runner-agent/control.sock
inode=$(stat --format=%i $path)
[ "$(stat --format='%a %u' $path)" = '666 0' ] || fail 'everybody may connect, and the socket is root'"'"'s'
[ "$(stat --format='%a %u' /run/runner-agent)" = '711 0' ] || fail 'its folder is passed through and not listed'
[ "$(active $unit $socket)" = 'inactive active ' ] || fail 'the socket starts nothing by itself'

say 'a job of an unprivileged user, whose hook comes before there is a daemon and under which the package is upgraded'
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
until [ -e "$HOME/over" ]; do
    refused || gaps=$((gaps + 1))
    tries=$((tries + 1))
done
echo "while it restarted: tries $tries, of these not refused $gaps"
refused && echo 'after the restart: refused'
/usr/lib/runner-agent/hooks/job-completed.sh
echo "completed hook: $?"
JOB
# A job in the background, which tries all the time what is refused; waits until it has begun.
job=''
begun() { [ -e $home/begun ] || ! kill -0 $job; }
begin_job() {
    rm -f $home/begun $home/over
    env -i "${variables[@]}" setpriv --reuid=$runner --regid=$runner --clear-groups bash /tmp/job.sh >/tmp/said 2>&1 &
    job=$!
    wait_for 240 'the job has begun' begun
    [ -e $home/begun ] || { cat /tmp/said; fail 'the job begins'; }
}
# Its end: refused all the time, and told what it did although the daemon that began it is gone.
end_job() { # LOG STATE WHY
    : >$home/over
    wait $job || true
    cat /tmp/said
    for line in 'started hook: 0' 'before the restart: refused' 'after the restart: refused' 'completed hook: 0'; do
        grep -q "^$line\$" /tmp/said || fail "not said: $line"
    done
    grep -Eq '^while it restarted: tries [1-9][0-9]*, of these not refused 0$' /tmp/said || fail 'the rules had a gap'
    grep -q "$3" /tmp/said || fail 'the completed hook tells of the restart'
    grep -Eq '^  blocked  203.0.113.7:443 tcp ×[1-9]' /tmp/said || fail 'the completed hook tells what was refused'
    is_over() { grep -q "\"state\":\"$2\"" "$1" && grep -q '"kind":"job".*"state":"ended"' "$1"; }
    wait_for 120 'the keeper goes on with the log, to the job'"'"'s end' is_over "$1" "$2"
    say "its log: $(wc -l <"$1") lines, $(grep -c '"verdict":"blocked"' "$1" || true) of them refusals"
}
begin_job
[ "$(show ActiveState)/$(show SubState)/$(show NotifyAccess)" = active/running/main ] || fail 'the hook had the service started'
say "ready: main process $(show MainPID), $(($(show ActiveEnterTimestampMonotonic) - $(show ExecMainStartTimestampMonotonic))) µs after its start"
before=$(show MainPID)
dpkg-deb --raw-extract "$package" /tmp/next
sed -i 's/^Version: .*/&+next/' /tmp/next/DEBIAN/control
dpkg-deb --build -Znone /tmp/next /tmp/next.deb >/dev/null
dpkg --install /tmp/next.deb || fail 'dpkg upgrades the package'
rm -r /tmp/next /tmp/next.deb
patient_hooks
say "$(installed), $(enabled)"
installed | grep -q '+next installed$' || fail 'the next version is installed'
[ "$(enabled)" = 'enabled enabled ' ] || fail 'both units stay enabled'
[ "$(show MainPID)" = "$before" ] || fail 'an upgrade restarts nothing'
grep -q "^owner: $runner" /etc/runner-agent/config.yml || fail 'what was configured stays'
systemctl daemon-reload
systemctl restart --no-block $unit
starts_again() { [ "$(show ActiveState)" = activating ] && [ "$(show MainPID)" != "$before" ]; }
wait_for 60 'another daemon begins to start' starts_again
# Asked while nobody answers yet: in the queue of a socket that was there all the time.
runner-agent job status --deadline 240 || fail 'who asks in between is answered'
is_active() { [ "$(show ActiveState)" = active ]; }
wait_for 5 'it says that it is ready' is_active
[ "$(stat --format=%i $path)" = "$inode" ] || fail 'the socket outlives the daemon'
[ "$(show MainPID)" != "$before" ] || fail 'the restart made another process'
say "restarted: main process $before, then $(show MainPID)"
log=$(ls /var/log/runner-agent/*.jsonl)
end_job "$log" handed-over 'the agent before was asked to end'
wait_for 60 'the keeper issues the receipt' test -s "$log.receipt.json"
runner-agent verify "$log" || fail 'the log is signed to its end, by the key of the daemon that began the job'
# One before, one after, and each between: what was done while there was no daemon has waited in the rings.
tries=$(sed -n 's/^while it restarted: tries \([0-9]*\),.*/\1/p' /tmp/said)
[ "$(grep -c '"kind":"connect".*"verdict":"blocked"' "$log")" = $((tries + 2)) ] || fail 'each refusal stands in the log'

say 'the watchdog is told that it goes on'
first=$(show WatchdogTimestampMonotonic)
[ "$first" -gt 0 ] || fail 'a watchdog is set'
pinged() { [ "$(show WatchdogTimestampMonotonic)" -gt "$first" ]; }
wait_for 90 'a ping' pinged
say "pings $(($(show WatchdogTimestampMonotonic) - first)) µs apart; restarts by the watchdog: $(show NRestarts)"
[ "$(show NRestarts)" = 0 ] || fail 'nothing but us restarted it'

say 'a daemon that stands still is ended by the watchdog, in the middle of a job, and its runner with it'
systemctl start $bound || fail 'with the agent its runner starts'
begin_job
second=$(ls /var/log/runner-agent/*.jsonl | grep -v "$log")
before=$(show MainPID)
kill -STOP "$before"
was_restarted() { [ "$(show NRestarts)" = 1 ] && is_active; }
wait_for 300 'systemd ends it and starts another' was_restarted
[ "$(show MainPID)" != "$before" ] || fail 'another daemon serves'
journalctl --no-pager --unit=$unit | grep 'Watchdog timeout' || fail 'it was the watchdog'
journalctl --no-pager --unit=$unit | grep 'code=killed, status=6/ABRT' || fail 'no image of its memory is left'
[ "$(active $bound)" = 'inactive ' ] || fail 'a runner without its agent goes on'
end_job "$second" taken-over 'the agent before is gone'

say 'who stops the socket stops daemon and runner'
systemctl start $bound || fail 'with the agent its runner starts again'
systemctl stop $socket
is_stopped() { [ "$(active $unit $socket $bound)" = 'inactive inactive inactive ' ]; }
wait_for 60 'all three are stopped' is_stopped
rm -r /etc/systemd/system/$bound /etc/systemd/system/$bound.d

say 'a secret as a credential'
cat >>/etc/runner-agent/config.yml <<'SINK'
sinks:
  - { name: soc, type: webhook, url: "http://127.0.0.1:9/", drain: 1s, sign: { hmac: { credential: soc } } }
SINK
systemctl start $unit && fail 'without its credential the service does not start'
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

say 'removed, and purged'
dpkg --remove runner-agent || fail 'dpkg removes the package'
[ "$(active $unit $socket)" = 'inactive inactive ' ] || fail 'removing stops both'
[ ! -e $path ] && [ ! -e /usr/bin/runner-agent ] || fail 'nobody is asked any more'
grep -q "^owner: $runner" /etc/runner-agent/config.yml || fail 'removing keeps the configuration'
dpkg --purge runner-agent || fail 'dpkg purges the package'
[ ! -e /etc/runner-agent/config.yml ] || fail 'purging takes the configuration'
find /etc/systemd/system -name 'runner-agent.s*' ! -name '*.d' | grep . && fail 'no link to a unit stays'
[ -s "$log" ] || fail 'logs are evidence, which no package removes'
dpkg-query --show runner-agent 2>/dev/null && fail 'dpkg knows it no more'
say 'all of it held'
