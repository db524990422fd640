"""The paper's own words (arXiv 1805.11604v3), for claims that its own curves or our runs may not bear out."""

QUOTES = {
    "bn_does_not_reduce_ics": "Models with BatchNorm have similar, or even worse, internal covariate shift",
    "standard_dln_has_no_ics": "the standard network experiences almost no ICS for the entirety of training",
    "bn_dln_gradients_uncorrelated": "for BatchNorm it appears that G and G′ are almost uncorrelated",
    "noise_prevents_training": "prevents it from training entirely",
    "noisy_less_stable": "has qualitatively less stable distributions than even the standard, non-BatchNorm network",
}
