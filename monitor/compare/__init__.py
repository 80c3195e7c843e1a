"""A against B on a user's own recordings: `factory-ear evaluate MANIFEST --ab A.toml B.toml`.

- `side`: what a side may set, typed and checked.
- `hits`: McNemar's exact test and the paired table. Numbers in, numbers out.
- `versus`: both sides on the same files, thresholds from healthy training recordings alone (needs torch).
- `page`: the result in Japanese or English.
"""
