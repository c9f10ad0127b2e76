"""The loss curve, read back from its SVG."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from gan_lab.loss_curve import (
    MAX_POINTS,
    VALIDATION,
    as_image,
    loss_curve_svg,
    loss_range,
    loss_sentence,
)

NAN = math.nan


def history(epochs: int, validation: bool = True) -> dict[str, list[float | None]]:
    loss = [1 + 9 * math.exp(-epoch / 20) for epoch in range(epochs)]
    after = [each + 0.2 if validation else None for each in loss]
    return {"epoch": list(range(1, epochs + 1)), "loss": list(loss), "validation": after}


def lines(svg: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Colour and points of each line, from left to right."""
    found = []
    for line in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline"):
        points = [point.split(",") for point in line.attrib["points"].split()]
        found.append((line.attrib["stroke"], sorted((float(x), float(y)) for x, y in points)))
    return found


def test_the_newest_epoch_is_drawn_of_a_long_history() -> None:
    (_, points), (colour, _) = lines(loss_curve_svg("motor", history(1000), width=500))
    assert points[-1][0] == 496 and 200 < len(points) <= MAX_POINTS
    assert colour == VALIDATION
    assert points[0][1] < points[-1][1]  # the loss falls; y grows downwards


def test_room_is_left_for_the_epochs_to_come() -> None:
    (_, points), _ = lines(loss_curve_svg("motor", history(100), epochs=199, width=500))
    assert points[-1][0] == 250


def test_one_epoch_is_no_curve() -> None:
    assert loss_curve_svg("motor", history(1)) == as_image("") == ""


def test_an_image_says_what_it_shows() -> None:
    assert 'alt="a&lt;b: loss 10 to 9.561 over 2 epochs' in as_image(
        loss_curve_svg("a<b", history(2))
    )


def test_the_first_steep_epochs_do_not_flatten_the_rest() -> None:
    losses = history(200)
    assert loss_range(losses)[1] < max(filter(None, losses["loss"]))


def test_a_validation_loss_that_runs_away_does_not_flatten_the_rest() -> None:
    losses = {"epoch": [1, 2, 3], "loss": [4.0, 3.0, 2.0], "validation": [NAN, 5.0, 900.0]}
    assert loss_range(losses) == (2.0, 6.0)
    assert loss_range(losses | {"validation": [None, 3.5, 4.5]}) == (2.0, 4.5)
    assert loss_range({"epoch": [1], "loss": [1.0], "validation": [NAN]}) == (0.5, 1.5)


def test_a_loss_that_diverged_is_left_out() -> None:
    losses = {"epoch": [1, 2, 3], "loss": [4.0, 3.0, NAN], "validation": [NAN] * 3}
    ((_, points),) = lines(loss_curve_svg("motor", losses))
    assert len(points) == 2
    assert loss_sentence("motor", losses) == "motor: loss 4 to 3 over 2 epochs."


def test_the_sentence_names_the_best_epoch() -> None:
    losses = {"epoch": [1, 2, 3], "loss": [4.0, 3.0, 2.0], "validation": [5.0, 3.5, 3.6]}
    assert loss_sentence("motor", losses).endswith("best validation 3.5 at epoch 2.")
    assert loss_sentence("motor", history(0)) == "motor: no epoch yet."
