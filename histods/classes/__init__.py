"""Classes: what a label map makes of an audited dataset, and which splits lack one."""
