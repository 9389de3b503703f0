"""The commands of ``netra-probe``, one module a topic; ``netra_probe.cli`` puts them together."""
