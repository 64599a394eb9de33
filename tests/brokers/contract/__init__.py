"""
The conformance suite: one class per verb, against a ``broker`` and a ``make_broker`` (another process's view) fixture.

The tests of this project run it for every broker and every server. A broker of one's own is tested by subclassing the
classes in a module that has the fixtures of ``tests/brokers/conftest.py``.
"""
