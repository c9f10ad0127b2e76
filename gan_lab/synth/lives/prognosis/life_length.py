"""The prior of a running unit's length, learned from lives that ended and from censored ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from gan_lab.synth.lives.packed import Floats, Ints

USUAL_SPREAD = 0.35  # of the logarithm of lives' lengths, before any has been seen
PRIOR_LIVES = 2.0  # that are presumed to differ as much
MODE_LIVES = 3.0  # of all modes, that a mode's own mean is shrunk by
ROUNDS = 50  # of expectation and maximization


@dataclass
class LifeLength:
    """A log-normal length in mean steps, its mean of each combination of conditions; `freedom` is
    that of the Student t by which few lives say little of its tails."""

    mean: Floats  # (combinations,)
    spread: float
    freedom: float

    @classmethod
    def fit(cls, length: Floats, censored: Floats, combo: Ints, combinations: int) -> LifeLength:
        """Fit to lengths (lives,) in mean steps; a `censored` one (lives, 0 or 1) is a lower bound.

        Censored lengths are completed by their expectation (EM for the Tobit model, Amemiya 1984),
        and spread is shrunk towards that of most machines (inverse gamma prior, Gelman et al. 2013,
        section 3.3).
        """
        log, hidden = np.log(np.maximum(length, 0.5)), censored.astype(bool)
        ended = max(int((~hidden).sum()), 1)
        mean, spread = np.full(combinations, log.mean()), USUAL_SPREAD
        for _ in range(ROUNDS):
            bound = (log - mean[combo]) / spread
            hazard = np.exp(norm.logpdf(bound) - norm.logsf(bound))
            filled = np.where(hidden, mean[combo] + spread * hazard, log)
            beyond = np.where(hidden, spread**2 * (1 - hazard * (hazard - bound)), 0.0)
            counts = np.bincount(combo, minlength=combinations)
            sums = np.bincount(combo, filled, minlength=combinations)
            mean = (sums + MODE_LIVES * filled.mean()) / (counts + MODE_LIVES)
            squares = ((filled - mean[combo]) ** 2 + beyond).sum() * ended / len(log)
            spread = float(
                np.sqrt((squares + PRIOR_LIVES * USUAL_SPREAD**2) / (ended - 1 + PRIOR_LIVES))
            )
        wider = np.sqrt(1 + 1 / ended)
        return cls(mean, spread * wider, ended - 1 + PRIOR_LIVES)

    def log_density(self, length: Floats, combo: int) -> Floats:
        """Return the log density of lengths (mean steps) under a combination of conditions."""
        log = np.log(np.maximum(length, 1e-9))
        z = (log - self.mean[combo]) / self.spread
        return np.asarray(student.logpdf(z, self.freedom) - np.log(self.spread) - log)
