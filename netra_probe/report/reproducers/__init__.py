"""A script for every finding: the smallest recorded sequence that shows it, with httpx and websockets alone.

``tape`` looks a history up, ``slicing`` takes out of it what a finding needs, ``source`` writes it down as Python,
``forged`` makes credentials again, ``runtime`` is what each script carries with it, and ``writing`` leaves the files of
a run beside its results.
"""
