"""Benchmarks: how long a training step and an inference take, what bounds them, and what PyTorch needs for the same.

    cases.py        what is measured          per_op.py     every op of a step, timed by itself
    libraries.py    one call of each library  work.py       an op's arithmetic and the bytes it must move
    worker.py       one measurement, in a process of its own
    suite.py        which processes run when  words.py      what bounds an op, in a sentence
    clock.py        by the host or by CUDA events    floors.py    the fastest the machine can multiply and copy
    torch_ops.py    the same ops in PyTorch, by what specs.py tells of them
    report.py, plot.py   tables and pictures

Two rules make the numbers comparable. Each measurement is a process of its own, because threads that one library keeps
spinning would slow the other; and the processes of the two libraries take turns, so that a busy moment of the machine
hits both.
"""
