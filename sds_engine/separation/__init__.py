"""One machine out of a noisy hall: separators, all of one interface. target + residual = mixture, masks in 0..1.

- `base`: the interface, `Separator: (mix, Query) -> Separated`; `lineup`: the methods by name.
- `grid`: the STFT that masks live on, mel bands, and cutting a mixture in two.
- `classical`, `nmf`: what needs no training, and the oracle.
- `network`, `enrolment`, `extractor`: the mask network, asked by enrolment recordings or a prompt; the shipped weights.
- `exdiff`: Ex-Diff, diffusion that goes on from the extractor's answer.
- `adapt`: minutes of fine-tuning on a site's own sound.
- `standins`, `pool`, `mixing`, `training`, `train`: how networks are trained, from the physics of machines.
"""
