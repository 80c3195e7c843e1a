"""The embedded broker: SQLite files in one folder, several processes on one machine, no server.

A table of contents:

- `clock`: the times that a broker reads; `database`: one SQLite file and what its errors mean.
- `log`: messages in a table; `segments`: messages in a row of files that retention unlinks.
- `leases`: who of a group reads which partition; `store`: the folder as one process sees it.
- `producer`, `consumer`, `broker`: the contract of `streams.contract`.

    DIR/broker.sqlite                       topics, segments, members, leases, offsets, and the small topics
    DIR/<topic>/<number>-<hour>.sqlite      one stretch of a topic of windows

The promise: what `flush` returned for survives `kill -9` and loss of power; who lost a lease cannot commit.
"""
