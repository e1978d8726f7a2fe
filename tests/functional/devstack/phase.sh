#!/bin/bash
#
# phase.sh local.sh phase... - Run phases of the plugin as DevStack does
#
# local.sh sets what local.conf and stackrc would. With DEVSTACK_DIR the
# functions are DevStack's own, else those of functions.sh.

set -o errexit

source "$1"
shift

# The tests are root already.
function sudo {
    "$@"
}

if [[ -n "${DEVSTACK_DIR:-}" ]]; then
    TOP_DIR=$DEVSTACK_DIR
    FILES=$TOP_DIR/files
    source "$TOP_DIR/functions"
    source "$TOP_DIR/lib/tls"
    # Of Glance only this one: the rest wants a whole stack.
    eval "$(sed -n '/^function configure_reserved_stores/,/^}/p' "$TOP_DIR/lib/glance")"
else
    source "$(dirname "$0")/functions.sh"
fi

# What would change the machine that the tests run on
function setup_develop {
    echo "setup_develop $*" >> "$CALLS"
}
function install_package {
    echo "install_package $*" >> "$CALLS"
}
function get_python_exec_prefix {
    dirname "$PYTHON"
}

source "$TMPL_DIR/devstack/override-defaults"
source "$TMPL_DIR/devstack/settings"
echo "NOVA_INSTANCES_PATH=${NOVA_INSTANCES_PATH:=$DATA_DIR/nova/instances}" > "$CALLS.env"

for phase in "$@"; do
    # shellcheck disable=SC2086
    set -- ${phase/-/ }
    [[ "$phase" == stack-* ]] && set -- stack "${phase#stack-}"
    source "$TMPL_DIR/devstack/plugin.sh" "$@"
    if [[ "$phase" == stack-pre-install ]]; then
        mkdir -p "$NOVA_INSTANCES_PATH"  # Nova does
    fi
done
