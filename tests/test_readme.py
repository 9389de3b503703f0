"""The README is tried out: what it shows is what works."""

import re
import secrets
from pathlib import Path

import httpx
import yaml
from composing import Composed

from netra_probe.catalogue.folders import PROJECT
from netra_probe.target.parameters import read_parameters

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"README.md has no block marked {marker}"
    return found[1]


def test_ci_calls_the_test_command_of_the_readme() -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- command: test -->" in script
    assert "pytest" not in script
    assert "tests notebooks" in block("command: test")
    assert block("command: run").strip().endswith("netra-probe run")


def test_the_example_of_a_parameter_file_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "staging.yaml"
    path.write_text(example)
    assert read_parameters(path).users == yaml.safe_load(example)["users"]


def test_each_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_the_example_of_a_fault_does_what_it_says(compose: Composed, tmp_path: Path) -> None:
    module = tmp_path / "my_fault.py"
    module.write_text(block("example: fault"))
    lab = compose(("Z1",), (module,))
    titles = {}
    for name in ("ann", "ben"):
        account = {
            "email": f"{name}.{secrets.token_hex(4)}@example.org",
            "password": secrets.token_urlsafe(12),
            "name": name,
        }
        tokens = httpx.post(f"{lab.parameters['auth_url']}/auth/register", json=account, timeout=10).json()
        backend = httpx.Client(
            base_url=lab.parameters["backend_urls"][0],
            headers={"Authorization": f"Bearer {tokens['access_token']}"},
            timeout=10,
        )
        with backend:
            backend.post("/api/threads", json={"title": f"plans of {name}"}).raise_for_status()
            titles[name] = backend.get("/api/threads").text
    counters = lab.status()["faults"]["Z1"]
    assert "plans of ann" in titles["ann"]
    assert "plans of ann" in titles["ben"]
    assert "plans of ben" not in titles["ben"]
    assert counters == {"reached": 2, "triggered": 1}
