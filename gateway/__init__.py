"""A horizontally scalable WebSocket gateway backed by Redis.

Read the folders in the order in which a message meets them: ``sockets`` and ``web`` (the
doors), ``protocols`` (how clients speak), ``core`` (what happens), ``domain`` (what is true),
``ports`` (what we need from outside), ``adapters`` (who does it). ``app`` wires them.
"""

__version__ = "0.1.0"
