"""The engines that decide integer lemmas for all sizes: SymPy with certificates, and the SMT solver z3."""
