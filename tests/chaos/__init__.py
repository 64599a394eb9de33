"""
Break everything that can break, and count.

A *row* is one kind of fault (``rows/``). A *trial* is one run of a row: a producer that writes down every job it was
promised, worker families as real processes, servers of our own, faults at moments that the seed decides, and at the end
a *verdict* made of files and tables that were written before anything could go wrong:

    acked       every id for which delay() returned, or whose transaction committed
    runs        ``id pid time``, one write by the job before it does anything
    results     the rows in the database

lost = acked - results. Twice: ids that ran more than once; only those may that were in flight in a process that a fault
has hit. ``script/chaos --minutes 30 --seed 7`` runs for long, pytest runs every row briefly.
"""
