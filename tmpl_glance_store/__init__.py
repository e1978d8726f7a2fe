"""Template images on the disks next to the VMs: a glance_store plugin."""
