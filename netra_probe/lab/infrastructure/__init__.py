"""The lab's machinery: real servers from wheels, ports, processes, directories, and the one who tidies up.

Nothing here serves a request; see `netra_probe.lab.supervisor` for the order in which it all starts and ends.
"""
