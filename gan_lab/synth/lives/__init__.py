"""The model of whole lives: run-to-failure trajectories, a life at a time.

It hands out `SequentialTVAE` (sequential.py) with `fit`, `sample`, `save` and `load`. It stands on
`network`, and never imports `tabular` or `report`. Fitting runs the steps of a row down this table,
from readings to scores; drawing runs them up:

| step        | file, class                             | source                                   |
| ----------- | --------------------------------------- | ---------------------------------------- |
| reading     | life_table.LifeTable, rul_column        |                                          |
| scale       | scale.Scale                             | AVAS, Tibshirani 1988                    |
| curve       | degradation_curve.Curve, random_effects | Lu and Meeker 1993; Laird and Ware 1982  |
| level       | level.LifeLevel                         | random intercepts; Henderson 1975        |
| memory      | memory.Autoregression                   | Corsi 2009                               |
| variance    | variance.VarianceModel                  | Harvey 1976; Smyth 1989                  |
| dependence  | dependence.Dependence                   | Rosenblatt 1952                          |
| scores      | conditional_tvae.ConditionalTVAE        | Xu et al. 2019; Sohn et al. 2015         |

Around a row: row_context (features of age, regime and hour), drivers (columns that the others
follow), markov_chain and regimes. Around lives: population (random effects, lengths, starts),
conditions (what a request wants).

To follow a fit: sequential -> fitting -> training_lives -> phases -> residual; a draw: sequential
-> drawing -> population -> row_context -> residual -> life_table; a file: model. `packed` is the
order in which all lives are computed at once.
"""
