#!/bin/bash
#
# systemctl.sh verb [unit] - Start and stop what a unit file says, in a
# container without systemd. The state is beside the unit files.

set -o errexit

verb=$1
unit=${2:-}
state=$SYSTEMD_DIR/state

function pid_of {
    cat "$state/$unit.pid" 2>/dev/null
}

mkdir -p "$state"
case "$verb" in
    daemon-reload) ;;
    enable) touch "$state/$unit.enabled" ;;
    disable) rm -f "$state/$unit.enabled" ;;
    is-enabled) [[ -e "$state/$unit.enabled" ]] ;;
    start)
        command=$(sed -n 's/^ExecStart *= *//p' "$SYSTEMD_DIR/$unit")
        # shellcheck disable=SC2086
        setsid $command >> "$state/$unit.log" 2>&1 < /dev/null &
        echo $! > "$state/$unit.pid"
        ;;
    stop)
        pid=$(pid_of) || exit 0
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        rm -f "$state/$unit.pid"
        ;;
    *) echo "$0: $verb?" >&2; exit 2 ;;
esac
