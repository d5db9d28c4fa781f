from dataclasses import dataclass
@dataclass
class Phases: x: int = 0
def find_phases(*a): return Phases()
