"""Versions that must be the same everywhere."""

from __future__ import annotations

from gan_lab.cluster.upkeep.versions import differences


def test_versions_that_differ_are_named_with_who_has_which() -> None:
    found = {
        "client": {"numpy": "2.4.6", "torch": "2.13.0"},
        "scheduler": {"numpy": "2.4.6"},
        "tls://10.0.0.7:1": {"numpy": "2.3.0", "torch": "2.13.0"},
    }
    assert differences(found) == {
        "numpy": {"client": "2.4.6", "scheduler": "2.4.6", "tls://10.0.0.7:1": "2.3.0"},
        "torch": {"client": "2.13.0", "scheduler": None, "tls://10.0.0.7:1": "2.13.0"},
    }
    assert differences({"client": {"numpy": "2"}, "scheduler": {"numpy": "2"}}) == {}
