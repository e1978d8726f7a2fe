# `make demo` and `make test` do all their own set-up on Debian and Ubuntu:
# a virtualenv, the missing system packages of bindep.txt, and tox.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
TOX := $(VENV)/bin/tox
APT_GET := $(if $(filter-out 0,$(shell id -u)),sudo) \
    env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300
apt_install = { $(APT_GET) update; \
    $(APT_GET) install -y --no-install-recommends $(1); }
# $(call install_packages,profiles of bindep.txt)
install_packages = missing=$$($(VENV)/bin/bindep -b $(1)) || { \
    echo "==> Installing with apt:" $$missing; \
    $(call apt_install,$$missing); \
}
SAY := @printf '==> %s\n'

.PHONY: demo test clean

# KEEP=1 keeps Glance up at the end, CATALOG=etcd has the cluster meet in a real
# etcd: make exports what its command line sets.
# Not run by tox, which would cut short its cleaning up after Ctrl-C.
demo: $(READY)
	$(SAY) 'Checking the system packages of bindep.txt'
	@$(call install_packages,demo $(CATALOG))
	$(SAY) 'Installing Glance and its client into .tox/functional'
	@$(TOX) run -e functional --notest
	$(SAY) 'Running tools/demo.py'
	@.tox/functional/bin/python tools/demo.py

test: $(READY)
	$(SAY) 'Checking the system packages of bindep.txt'
	@$(call install_packages,test)
	$(SAY) 'Running style checks, unit tests, functional tests and docs in tox'
	@$(TOX) run

# Debian's python3 lacks ensurepip until python3-venv is there.
$(READY):
	$(SAY) 'Creating the virtualenv $(VENV) with tox and bindep'
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or \
	    sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=python3.1x")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    $(call apt_install,python3-venv)
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install -q tox bindep
	@touch $@

clean:
	rm -rf $(VENV) .tox build dist doc/build releasenotes/build *.egg-info
