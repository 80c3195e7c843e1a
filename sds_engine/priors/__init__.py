"""Diffusion priors: what a sound under a prompt should be, behind one interface.

- `denoiser`: the contract, `Denoiser` D(x, sigma, condition), `Codec` and the bundle `Prior`.
- `gaussian`: priors with an exact answer, the oracles of the tests.
- `stable_audio`, `audioldm2`: published models through diffusers, from a folder on this machine.
"""
