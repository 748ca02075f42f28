"""The Centrifuge client protocol, version 2, without I/O: frames become commands, results frames.

`commands` and `results` say what there is to say, `codes` why not. `json` and `protobuf` are how it
is spelled, and `one_way` for clients that are only told things: each a `codec.Codec`, and `reading`
is what they share; nothing else has to know.
"""
