"""Does it pay? From a trial's labelled recordings and a file of costs to a decision, with its uncertainty.

In the order of the way of the data:

- `costs`: costs.toml, typed and checked.
- `trial`: the manifest's recordings as a trial: events, times, how long healthy machines were listened to.
- `listen`: what `run` would have said of each recording (needs torch).
- `measured`: from that to recall, false alarms and lead times, each with its interval (`intervals`).
- `money`: the arithmetic of one year and of all years. Numbers in, numbers out.
- `chances`: the same with uncertain numbers: Monte Carlo and the sensitivity of each assumption.
- `verdict`: go, extend the trial (by what), or stop; `rollout`: what to do next.
- `texts`, `formats`, `charts`, `page`: how a person reads it, in Japanese and English.
- `command`: all of it, for `factory-ear roi`.

Money is in units of the currency that costs.toml names; rates are per machine and week. Sources: docs/roi.md.
"""
