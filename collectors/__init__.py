"""One module per thing that is measured; a file that is here is a collector, nothing else registers it.

A collector has a frozen `Config` (its section of the file), a `State` (what it remembers from the last
collect) and ``collect(host, config, state)``, which yields samples. It reads through `Host`, never
writes but for one small file of srt's in the run directory, never starts a process or thread, and yields nothing for
what it cannot read.
"""
