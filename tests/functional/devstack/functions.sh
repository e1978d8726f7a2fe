#!/bin/bash
#
# What the plugin calls of DevStack, for machines without a checkout of it: by
# the descriptions in DevStack's own files, and no more than the plugin needs.

function die {
    echo "[ERROR] line $1: $2" >&2
    exit 1
}

function echo_summary {
    echo "$@"
}

function define_plugin {
    :
}

function is_service_enabled {
    local service
    for service in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$service,* ]] && return 0
    done
    return 1
}

function enable_service {
    is_service_enabled "$1" || ENABLED_SERVICES+=,$1
}

function trueorfalse {
    case "${!2:-}" in
        1 | [yY]es | YES | [tT]rue | TRUE) echo True ;;
        0 | [nN]o | NO | [fF]alse | FALSE) echo False ;;
        *) echo "$1" ;;
    esac
}

# ini <set|add|get> file section option [value...]
function ini {
    "$PYTHON" - "$@" <<'END'
import pathlib
import sys

verb, name, section, option, *values = sys.argv[1:]
path = pathlib.Path(name)
lines = path.read_text().splitlines() if path.exists() else []
if f'[{section}]' not in lines:
    lines += ['', f'[{section}]']
start = lines.index(f'[{section}]') + 1
end = next((number for number in range(start, len(lines))
            if lines[number].startswith('[')), len(lines))
mine = [line for line in lines[start:end]
        if line.partition('=')[0].strip() == option]
if verb == 'get':
    print(*(line.partition('=')[2].strip() for line in mine))
    sys.exit()
rest = [line for line in lines[start:end] if line not in mine]
lines[start:end] = [*(f'{option} = {value}' for value in values), *rest]
path.write_text('\n'.join(lines) + '\n')
END
}

function iniset {
    [[ "$1" == -sudo ]] && shift
    ini set "$1" "$2" "$3" "${*:4}"
}

function iniset_multiline {
    ini set "$@"
}

function iniget {
    ini get "$@"
}

function get_python_exec_prefix {
    dirname "$PYTHON"
}

function write_user_unit_file {
    local unitfile=$SYSTEMD_DIR/$1
    mkdir -p "$SYSTEMD_DIR"
    iniset "$unitfile" Service ExecStart "$2"
    iniset "$unitfile" Service User "$4"
    iniset "$unitfile" Install WantedBy multi-user.target
    $SYSTEMCTL daemon-reload
}

function stop_process {
    local unit=devstack@$1.service
    if is_service_enabled "$1" && $SYSTEMCTL is-enabled "$unit"; then
        $SYSTEMCTL stop "$unit"
        $SYSTEMCTL disable "$unit"
    fi
}

function create_disk {
    mkdir -p "$2"
    truncate -s "$3" "$1"
    mkfs.xfs -q -f "$1"
    echo "$1 $2 xfs loop 0 0" >> "$TMPL_FSTAB"
    mount -o loop "$1" "$2"
}

function destroy_disk {
    if grep -q " $2 " /proc/mounts; then
        umount "$2"
    fi
    rm -f "$1"
}

function configure_reserved_stores {
    local store
    for store in os_glance_staging_store os_glance_tasks_store; do
        iniset "$GLANCE_API_CONF" $store filesystem_store_datadir "$DATA_DIR/glance/$store/"
    done
}

# A CA that signs the certificates of nodes itself
function make_root_CA {
    mkdir -p "$1/private"
    openssl req -x509 -nodes -newkey rsa:2048 -days 2 -subj "/O=OpenStack/CN=Root CA" \
        -keyout "$1/private/cacert.key" -out "$1/cacert.pem"
}

function create_signing_config {
    :
}

# make_cert ca-dir name common-name alt-names
function make_cert {
    local file=$1/$2
    [[ -r $file.crt ]] && return
    openssl req -nodes -newkey rsa:2048 -subj "/O=OpenStack/CN=$3" \
        -keyout "$1/private/$2.key" -out "$file.csr"
    openssl x509 -req -days 2 -in "$file.csr" -out "$file.crt" \
        -CA "$1/cacert.pem" -CAkey "$1/private/cacert.key" -CAcreateserial \
        -extfile <(
            echo "basicConstraints = CA:false"
            echo "keyUsage = digitalSignature, keyEncipherment, keyAgreement"
            echo "extendedKeyUsage = serverAuth, clientAuth"
            echo "subjectAltName = DNS:$3,$4"
        )
}
