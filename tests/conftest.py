"""For all tests, and the processes that they start."""

import os

# Tests run side by side, one on a core: threads of each would only get in each other's way. Set
# before anything imports torch, which looks once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the developer has set for own runs is not meant for those of the tests.
for variable in ("SDD_STORE", "SDD_NO_PLUGIN"):
    os.environ.pop(variable, None)
