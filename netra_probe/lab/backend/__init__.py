"""The lab's backend: REST, WebSocket and agents over PostgreSQL and Redis; two of these processes share the work.

One file per component, assembled in :mod:`~netra_probe.lab.backend.composition`, which is the only place that
knows concrete classes: a fault replaces an entry there, and no healthy module knows that faults exist.
"""
