"""Physics of machines that wear out: a seed table of lives from a profile.

It hands out `simulate.simulate`, the recipe; its steps are `lives` (which lives, and when their
rows are taken), `operation` (states, load, speed), `wear` (damage) and `sensors` (readings). It
imports the words of the house and `workspace`, and no other room of `synth`.
"""
