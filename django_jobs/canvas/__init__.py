"""What is to be done, and in which order, before any of it is sent."""

from __future__ import annotations

from django_jobs.canvas.composition import Chain, Chord, Group, chain, chord, group
from django_jobs.canvas.expression import Expression
from django_jobs.canvas.maps import Chunks, chunks, xmap, xstarmap
from django_jobs.canvas.signature import Signature, signature

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
