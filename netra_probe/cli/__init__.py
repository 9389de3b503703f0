"""The commands of ``netra-probe``, one module each; ``netra_probe.cli.main.main`` puts them together."""
