"""Sound as tensors: signal processing, the physics of machines and their faults, and what grows on them.

- `dsp`: STFT, mel bands, levels, filters, SI-SDR.
- `physics`: machines, rooms and faults from published formulas; each docstring names its source.
- `makers`: differentiable makers of fault sounds, bounded by physics.
- `priors`: diffusion models of sound behind one `Denoiser`: the shipped one, published ones, and exact oracles.
- `sds`: score distillation, by which a prior teaches a maker or separates a mixture.
- `tasks`: what is done with them: matching FM to a recorded sound.
- `separation`: one machine out of a noisy hall: classical methods, the extractor, and its adaptation to a site.
- `judges`: the shipped classifier of faults that gates what is made.
- `provenance`: sidecars and the inaudible mark of generated sound.
"""
