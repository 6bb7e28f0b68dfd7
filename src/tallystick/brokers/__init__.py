"""Sessions with brokers, Kafka's and RabbitMQ's: where they are, how to be let in, and what their errors mean.

What is sent to them is for others to know. A module is imported only where its broker is wanted, since its client is an
extra.
"""
