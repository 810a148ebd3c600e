"""Tested reference implementations for the course *Deep Learning and Quantum Many-Body Computation*.

Instruments: needs, device, data, oracles, figures, training, checks.  Chapters: graph, flows, rbm, spins and vmc,
monge_ampere, born_machine.  Notebooks import what they need; importing `helpers` itself only looks
whether the kernel has what the course needs.
"""

from helpers import needs

__version__ = "0.1.0"

needs.check()
