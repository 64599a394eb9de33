"""What is to be done, and in which order, before any of it is sent."""

from __future__ import annotations

from django_jobs.canvas.composition import Chain, Chord, Group, chain, chord, group
from django_jobs.canvas.expression import Expression, from_dict
from django_jobs.canvas.maps import Chunks, chunks, xmap, xstarmap
from django_jobs.canvas.signature import Signature, signature
from django_jobs.serializers import register_type

#: In front of what a canvas is called that is an argument: of a task that sends it, or makes room for it.
WIRE_NAME = "canvas."
for _kind, _class in Expression.kinds.items():
    register_type(_class, Expression.to_dict, from_dict, name=WIRE_NAME + _kind)

__all__ = [
    "Chain",
    "Chord",
    "Chunks",
    "Expression",
    "Group",
    "Signature",
    "chain",
    "chord",
    "chunks",
    "group",
    "signature",
    "xmap",
    "xstarmap",
]
