"""What other servers may ask of the gateway: the methods of ``POST /api/<method>``.

`callers` says who may, `methods` what happens, and `orders` and `nodes` what of it every replica
does with its own connections.
"""
