# SPDX-License-Identifier: Apache-2.0
"""What a power cut leaves: recorded effects, replayed with losses.

SIGKILL leaves the page cache behind, and so hides each missing fsync. Here a
recorder notes what the product does to a tree of files, and a replay builds
what POSIX allows to be left of it at any instant: as ALICE (Pillai et al.,
OSDI 2014) and CrashMonkey (Mohan et al., OSDI 2018) do.
"""
