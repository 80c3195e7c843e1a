"""Diffusion priors: what a sound under a prompt should be, behind one interface.

- `denoiser`: the contract, `Denoiser` D(x, sigma, condition), `Codec` and the bundle `Prior`.
- `shipped`: the prior that comes with factory-ear; `codec`, `logmel`, `network`, `edm`, `text`, `retrieval`: its parts;
  `corpus`, `captions`, `mixing`, `training`, `build`: what made it.
- `gaussian`: priors with an exact answer, the oracles of the tests.
- `stable_audio`, `audioldm2`: published models through diffusers, found by `published` on this machine.
"""
