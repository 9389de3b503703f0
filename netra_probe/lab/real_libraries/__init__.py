"""Real defects of real libraries: what happened to people, where the published faults are modelled on it.

Nothing here imitates a defect. The backends are started with the library that has it (`Fault.libraries`) or with the
settings under which it shows (`Fault.settings`), and the fault only watches. They are not among the published ones:
name them, or say ``netra-probe detect --real``.
"""

from . import redis_out_of_step, uvicorn_context

__all__ = ["redis_out_of_step", "uvicorn_context"]
