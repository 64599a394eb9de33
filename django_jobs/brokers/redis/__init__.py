"""The broker on Redis: one Lua script per verb, every key in ``keys``, every byte through ``connection``."""
