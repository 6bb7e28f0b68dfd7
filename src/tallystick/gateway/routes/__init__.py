"""The paths of the API, by what they are about. Each module gives its routes; `ALL` is what there is.

A handler is a coroutine from a `Call` to an `Answer`; whatever it raises becomes a problem.
"""
