"""What every service of the lab is built from: environment, configuration, faults, operator view, serving.

Nothing here knows a service. The auth service, the backend and the language-model service import it; it imports none
of them, so that each of them can run without the others.
"""
