"""How a database gets from one version of the gateway's tables to the next; forward only.

To change the tables: change ``schema.py``, add ``versions/000N_….py``, and raise ``VERSION``. The
tests compare what the migrations make with what the schema says, on every database.
"""
