"""Records of sound and of what was heard, and the brokers that carry them. Numpy only: no torch.

A table of contents:

- `records`: `AudioWindow`, `WindowScore`, `Alert`: what travels.
- `codec`: the wire format, written as a schema.
- `contract`: what every broker keeps; `broker`: one by its url; `embedded`: the broker that needs no server.
- `dead`: the letters of what could not be processed.
- `worker`: the loop poll, process, write, flush, commit.
- `capture`, `windows`: from a microphone, a folder or a stream to windows.
- `soundfiles`, `gate`: what may pass and what is refused, with its reason.

The promise: an accepted window ends scored, rejected, dead or expired, and the counts add up.
"""
