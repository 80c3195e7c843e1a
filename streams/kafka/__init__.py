"""The broker for more than one machine: Apache Kafka 4.x, through kafka-python.

A table of contents:

- `connection`: where Kafka is, what its clients are told, and what its errors mean in words.
- `clients`: clients of kafka-python that say why they could not connect; `admin`: short questions.
- `topics`: how a topic must be, and the refusal of one that is not.
- `producer`, `consumer`, `broker`: the contract of `streams.contract`.

The promise: what `flush` returned for was confirmed by every replica that the topic asks for (`acks=all`); a consumer
that the group has given up cannot commit. The workers themselves run on Faust, see `streams.faust_app`.
"""
