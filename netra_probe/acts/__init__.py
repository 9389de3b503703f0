"""Acts: what an investigator does, as verbs that a notebook reads like prose.

    from netra_probe.acts.tokens import forge
    await forge(probe, tester=bob, victim=alice)
    probe.check("A1.3", tokens())

An act goes over the wire through the recording clients, so that everything it does is in the history, and returns a
small value that says what was done. It judges nothing: that is the checkers' part. What a target does not offer is said
in the value and never raised; what destroys is aimed only at what the probe made.
"""
