"""Tested reference implementations for the course *Deep Learning and Quantum Many-Body Computation*.

Instruments: device, data, oracles, figures, training, checks.  Chapters: graph, flows, rbm, spins and vmc,
monge_ampere, born_machine.  Notebooks import what they need; importing `helpers` itself loads nothing else.
"""

__version__ = "0.1.0"
