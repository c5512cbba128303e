"""The sources: one module for each thing that is measured. The file is the registration, there is no other.

A source has a frozen `Config` (its section of the configuration), a `State` (kept from one collect to the next) and
``collect(host, config, state)``, which yields samples. It reads through `Host`, starts no process or thread, writes
nothing (except one small file of `srt` in the run directory), and yields no sample for a value that it cannot read.
"""
