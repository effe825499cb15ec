"""The classes of an audited dataset under a label map, and which splits lack one."""
