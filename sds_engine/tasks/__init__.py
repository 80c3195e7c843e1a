"""What makers, priors and judges do together: the tasks of Audio-SDS, and fault libraries.

- `wanted`: which maker a prompt asks for.
- `agreement`: how well a prior finds that sounds fit a prompt.
- `library`: prompt -> N varied fault sounds, taught by the prior, gated by physics and a judge.
- `fm_match`: the four-operator FM voice that sounds like a recorded sound, `match_fm(target, maker, seed)`.
- `spectral`: how far two sounds' spectra are apart, and how far they must be carried; `fm_starts`: first guesses.
"""
