"""Seeded data: ten people in every state an account can be in, what they said before, and twenty questions to ask.

The same in every lab that is started with ``seed_data=True``, described without secrets in its state:

    with start_lab(seed_data=True) as lab:
        admin = next(user for user in lab.seeds["users"] if user["state"] == "admin")
        password = password_of(admin["email"], lab.parameters["service_secret"])

``people``       who there is, what they said, what to ask agents, and passwords and tokens from the lab's own secrets
``loading``      putting all of it where it belongs, with the components of the services
"""

from netra_probe.lab.seeds.people import PEOPLE, PROMPTS, THREADS, SeedUser, password_of, token_of

__all__ = ["PEOPLE", "PROMPTS", "THREADS", "SeedUser", "password_of", "token_of"]
