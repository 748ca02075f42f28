"""What servers say to the gateway: ``POST /api/<method>``, without I/O.

`requests` reads what is asked for, strictly: a name that was misspelled is an error and not a
default. `answers` writes what is answered.
"""
