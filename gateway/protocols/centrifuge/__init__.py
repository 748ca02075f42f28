"""The Centrifuge client protocol, version 2, without I/O: frames become commands, results frames.

`commands` and `results` say what there is to say, `codes` why not, and `json` how it is spelled.
Another spelling (Protobuf) is another `codec.Codec`; nothing else has to know.
"""
