"""Whether an investigation has a schema of its own in the target's database, and the end of it."""

from __future__ import annotations

from netra_probe.clients.component_process import Undecided
from netra_probe.clients.scratch_schema import ScratchSchema
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.expectations import NO_SCRATCH
from netra_probe.target.deployment import Mode

SURFACE = "database"


class ScratchDatabase:
    """A schema that is made when it is first asked for; ``url`` says why there is none."""

    def __init__(self) -> None:
        self.url: Secret | Undecided = Undecided(reason="nobody asked for the scratch database")
        self._schema: ScratchSchema | str | None = None

    async def open(self, probe: InvestigationContext) -> None:
        """Make the schema, once."""
        if self._schema is None:
            self._schema = made = await _made(probe)
            detail = {"reason": made} if isinstance(made, str) else {"schema": made.name}
            self.url = Undecided(reason=made) if isinstance(made, str) else made.url
            probe.history.observe(actions.SCHEMA, surface=SURFACE, connection="probe/database", detail=detail)

    async def close(self) -> list[str]:
        """Remove the schema; what is left, by name."""
        schema, self._schema = self._schema, "the investigation is over"
        if isinstance(schema, ScratchSchema) and not await schema.remove():
            return [f"schema {schema.name}"]
        return []


async def _made(probe: InvestigationContext) -> ScratchSchema | str:
    url = probe.target.secret("scratch_database_url")
    if url is None:
        return NO_SCRATCH
    if probe.target.mode is Mode.OBSERVE:
        return "mode observe: creating a schema needs mode probe"
    probe.history.redactor.know_parts(url.reveal(), "scratch-database-url")
    return await ScratchSchema.open(url, probe.mark, probe.timeouts)
