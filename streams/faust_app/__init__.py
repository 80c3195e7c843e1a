"""Workers on Kafka: Faust carries the messages, the loop of `streams.worker` does the work.

A table of contents:

- `app`: the Faust application and its settings, each with the failure that it prevents.
- `session`: one run of that application in a thread of its own.
- `guard`: whether what Faust delivered has a hole.
- `consumer`: the contract's `Consumer` on top, with the watchdog that begins a new session when one stands still.
- `worker`: `run_faust_worker`, the same loop as on the embedded broker.

The promise does not rest on Faust alone. Faust acknowledges what it believes was never there; here every batch is
checked for holes, and a hole that retention did not make is read again.
"""
