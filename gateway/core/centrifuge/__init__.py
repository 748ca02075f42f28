"""What a client of the Centrifuge protocol may ask for, and what becomes of it.

A `client.Client` is one connection with any number of `subscription.Subscription`s, each of
which the hub knows like a plain session. `clients.Clients` is what all of a replica's share.
"""
