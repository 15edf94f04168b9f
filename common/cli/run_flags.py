"""Groups of the flags of all programs, for reports on runs; they go when those ask common/cli/settings.py."""

from common.cli.settings import Common
from common.flags import Resume

FREE = tuple(Common.names(Resume.FREE))
PLACE = tuple(Common.names(Resume.PLACE))

# Flags that came later, and what runs of versions without them did, whose flags.txt does not have them: all programs'
# first, then those of methods that have more.
LATER = {"lr_scale": "none", "warmup_steps": "0", "sync_bn": "True"}
LATER_OF = {"sopt_gs": {"map": "gs"}}
