"""What makers, priors and judges do together: the tasks of Audio-SDS, and fault libraries.

- `wanted`: which maker a prompt asks for.
- `agreement`: how well a prior finds that sounds fit a prompt.
- `library`: prompt -> N varied fault sounds, taught by the prior, gated by physics and a judge.
"""
