"""A result says which versions it was made with."""

from __future__ import annotations

from importlib import metadata

from gan_lab.cluster.provenance import package_versions


def test_versions_and_the_commit_are_recorded() -> None:
    found = package_versions()
    assert found["numpy"] == metadata.version("numpy")
    assert len(found.get("commit", "0" * 40)) == 40  # none outside a checkout
