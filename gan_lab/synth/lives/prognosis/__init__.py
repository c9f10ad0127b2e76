"""How long a unit that still runs will last, and how its sensors may go on.

It stands on the steps of `lives` and hands out `leave_lives_out` (left_out.py) for the fit,
`Asked` (answer.py) for units that run, and `Prognosis` (prognosis.py), their answer. It imports
no model and no file: what it needs of a model is passed to it.

To follow an answer: running (a table as arrays) -> remaining_life (posterior on a grid of lengths,
with the prior of life_length) -> answer -> prognosis; futures draws on from there; scores judges.
"""
