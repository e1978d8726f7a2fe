#!/bin/bash
#
# plugin.sh - What DevStack calls in each of its phases

# Save trace setting
_XTRACE_TMPL_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

source $TMPL_DIR/devstack/lib/tmpl-glance-store

if is_service_enabled tmpl-agent g-api; then
    if [[ "$1" == "stack" && "$2" == "pre-install" ]]; then
        echo_summary "Preparing disks for tmpl-glance-store"
        prepare_tmpl_disk
    elif [[ "$1" == "stack" && "$2" == "install" ]]; then
        echo_summary "Installing tmpl-glance-store"
        install_tmpl
    elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
        echo_summary "Configuring tmpl-glance-store"
        init_tmpl
        configure_tmpl
        start_tmpl
    fi
    if [[ "$1" == "unstack" ]]; then
        stop_tmpl
    fi
    if [[ "$1" == "clean" ]]; then
        cleanup_tmpl
    fi
fi

# Restore xtrace
$_XTRACE_TMPL_PLUGIN
