"""What goes through Redis: events announced and followed.

The run folder is the record, so this room may be late or silent without a loss. It hands out
`Announcer` and `follow`. It imports `workspace` and the words of the house, never the
mathematics, the cluster or what shows.
"""
